/* frontend/cuda/flight.h -- which work may touch memory that both sides reach, and is not known to
 * be done
 *
 * Threads: under the lock of coherent.c, but for fe_flight_ended(), which takes none.
 */
#ifndef FE_FLIGHT_H
#define FE_FLIGHT_H

#include "frontend/cuda/coherent_priv.h"

/* What was posted last to a stream. */
struct fe_flight {
    struct fe_context *ctx;
    struct fe_stream *stream;
    uint64_t ctx_wire, stream_wire, n;
    uint64_t kernels; /* of it the last that may touch anything; 0: none */
};

/* Whether there is work that may touch the region (NULL: any). */
bool fe_flight_has(const struct fe_region *r);
/* It was posted; anything: it does not say what it touches. */
void fe_flight_note(struct fe_call *call, const struct fe_where *where, bool anything);

/* Kernels that may touch the region and are worth waiting for. */
bool fe_flight_kernels(const struct fe_region *r, struct fe_flight *flight_p);
/* Ask the server whether that work has ended; errors count as that, and are for the program's own
 * calls to say. */
bool fe_flight_ended(const struct fe_flight *flight);
/* It has; what was posted since stays. */
void fe_flight_forget(const struct fe_flight *flight);
/* Nothing is worth waiting for until all work is done. */
void fe_flight_give_up(void);

#endif
