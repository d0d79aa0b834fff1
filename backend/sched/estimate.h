/* backend/sched/estimate.h -- how long pieces of work take, by what they are
 *
 * A table of fixed size: the key is a hash of the call and its shape, the value a moving average.
 * Pure; the caller guards it.
 */
#ifndef BE_ESTIMATE_H
#define BE_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_ESTIMATES         4096
#define BE_ESTIMATE_SAMPLING 64 /* once known, every so many-th is measured again */

struct be_estimate {
    uint64_t key; /* 0: free */
    uint64_t ns;
    uint32_t seen, samples;
};

struct be_estimates {
    struct be_estimate list[BE_ESTIMATES];
};

/* FNV-1a over bytes, to be continued; never 0. */
uint64_t be_estimate_key(uint64_t key, const void *data, size_t bytes);

/* The average, or unknown_ns; *measure_p: it should run by itself and be learned. */
uint64_t be_estimate_get(struct be_estimates *estimates, uint64_t key, uint64_t unknown_ns,
                         bool *measure_p);
void be_estimate_learn(struct be_estimates *estimates, uint64_t key, uint64_t ns);

#endif
