/* frontend/core/perf.h -- GPUPOOL_PERF=no_batch,no_spin,...: switches optimisations off, for
 * finding faults and for measuring what each is worth
 */
#ifndef FE_PERF_H
#define FE_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fe_perf {
    FE_PERF_BATCH = 1u << 0,     /* no_batch: every record is sent by itself, at once */
    FE_PERF_SPIN = 1u << 1,      /* no_spin: sleep without looking first */
    FE_PERF_ZERO_COPY = 1u << 2, /* no_zero_copy: large sources are copied into the buffer */
    FE_PERF_CACHE = 1u << 3,     /* no_cache: answers that could be remembered are asked again */
    FE_PERF_ASYNC = 1u << 4,     /* no_async: a barrier after each asynchronous call */
    FE_PERF_RESUME = 1u << 5,    /* no_resume: nothing is kept, a lost line ends the session */
    FE_PERF_PROMISE = 1u << 7,   /* no_promise: each library's load is waited for */
    FE_PERF_COMPRESS = 1u << 8,  /* no_compress: copies travel as they are */
    FE_PERF_DIRECT = 1u << 9,    /* no_direct: copies between servers go through this process */
    FE_PERF_CONTENT = 1u << 10,  /* no_content: GPUPOOL_CONTENT_CACHE is not heard */
    FE_PERF_IMAGES = 1u << 6,    /* no_images: module images are sent, not offered by their hash */
};

/* Of all switches by comma: "no_batch, no_spin, ..." */
void fe_perf_names(char *out, size_t bytes);

extern uint32_t fe_perf_bits; /* set once when the library is loaded; all by default */

static inline bool
fe_perf(enum fe_perf which)
{
    return (fe_perf_bits & which) != 0;
}

#endif
