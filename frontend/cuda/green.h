/* frontend/cuda/green.h -- green contexts: a primary context on some of a device's SMs
 *
 * Everything happens in the primary context: its memory, modules and events are those of the green
 * one. What the green context has of its own are streams, on the server those of its driver's green
 * context. Its CUcontext is its own handle, once cuCtxFromGreenCtx gave it out; what is current
 * then is the primary context, and beside it the green one (fe_thread.green).
 *
 * A resource is a value of the program's: in its padding stands whose SMs these are and which split
 * made it. The server splits again when a green context is made, so it keeps nothing for resources.
 */
#ifndef FE_GREEN_H
#define FE_GREEN_H

#include "frontend/cuda/objects.h"

struct fe_green {
    struct fe_object object; /* context: the primary one */
    uint64_t context_wire;   /* its id then: a reset takes the green context with it */
    uint64_t id;             /* cuGreenCtxGetId */
    CUdevice device;
    uint32_t sms[3];          /* count, smallest partition, alignment */
    struct fe_stream *stream; /* what NULL means while it is current */
    _Atomic bool converted;   /* its handle is a CUcontext */

    struct fe_gates gates; /* context_event.h; guarded by the lock there */
};

/* The object behind a handle. Errors: CUDA_ERROR_INVALID_CONTEXT, CONTEXT_IS_DESTROYED, that of its
 * context if that failed. */
CUresult fe_green_get(const void *handle, struct fe_green **green_p);
/* The same of a CUcontext: it was given out as one. */
CUresult fe_green_of_context(CUcontext handle, struct fe_green **green_p);
/* CONTEXT_IS_DESTROYED for a stream whose green context is no more. */
CUresult fe_green_stream_check(const struct fe_stream *stream);

/* A stream of the program in a green context; call has the id of the creation. */
CUresult fe_green_stream_make(struct fe_call *call, struct fe_green *green, int priority,
                              struct fe_stream **stream_p);

/* The program's ordinal of a device's multiprocessors that a stream's launches have. */
static inline unsigned
fe_green_sms(const struct fe_stream *stream, unsigned all)
{
    return stream->green != NULL ? stream->green->sms[0] : all;
}

#endif
