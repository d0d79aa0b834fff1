/* backend/driver/soft/dev/green.h -- green contexts: a primary context on some of a device's SMs
 *
 * Everything in the device happens in the primary context; a green one says on which SMs kernels of
 * its streams run and how many there are, and which streams it has. Its CUcontext is its own
 * handle.
 */
#ifndef SD_GREEN_H
#define SD_GREEN_H

#include "backend/driver/soft/dev/ctx.h"

#define SD_SMS_MAX 1024u /* of a device */

/* A set of SMs. Never freed: CUDA has no call for that, and green contexts, resources and queued
 * work may look at it. */
struct CUdevResourceDesc_st {
    struct sd_object obj;
    struct CUdevResourceDesc_st *next;
    struct sd_device *dev;
    unsigned count;
    uint16_t sms[SD_SMS_MAX]; /* ascending */
};

struct CUgreenCtx_st {
    struct sd_object obj;

    /* Written once. */
    struct CUctx_st *ctx; /* primary, retained */
    unsigned long long id;
    const struct CUdevResourceDesc_st *desc;
    struct CUstream_st *stream; /* what NULL means while it is current */

    _Atomic bool converted;            /* its handle is a CUcontext */
    unsigned long long ctx_id;         /* the activation it belongs to */
    struct CUstream_st *gather, *gate; /* ctx_event.c; scheduler's lock */
};

/* The handle of a green context, as CUgreenCtx. Errors: CUDA_ERROR_INVALID_CONTEXT,
 * CONTEXT_IS_DESTROYED where its primary context went. */
CUresult sd_green_check(CUgreenCtx green);
/* A CUcontext of a program: its context, and its green one or NULL. INVALID_CONTEXT for one that was
 * destroyed; a primary context keeps its handle. */
CUresult sd_green_resolve(CUcontext handle, CUcontext *ctx_p, CUgreenCtx *green_p);

/* *ctx (not NULL) becomes the context itself, where only that matters. */
CUresult sd_green_plain(CUcontext *ctx);

/* The calling thread's current green context, or NULL. */
CUgreenCtx sd_green_current(void);

/* How many SMs launches have. */
static inline unsigned
sd_sm_count(const struct CUctx_st *ctx, const struct CUdevResourceDesc_st *sms)
{
    return sms != NULL ? sms->count : (unsigned)ctx->dev->profile.multiprocessors;
}

#endif
