/* backend/driver/soft/dev/ctx.h -- contexts
 *
 * The primary context of a device is one object for ever: its handle may be made current before
 * it is retained. Its state comes and goes with its activations.
 */
#ifndef SD_CTX_H
#define SD_CTX_H

#include "backend/driver/soft/dev/dev.h"

#define SD_LIMITS 10 /* CUlimit */

struct CUstream_st;
struct CUevent_st;
struct CUmod_st;

struct CUctx_st {
    struct sd_object obj;

    /* Written once. */
    struct sd_device *dev;
    bool primary;

    _Atomic bool active;       /* false: destroyed, or a primary context not retained */
    _Atomic int error;         /* sticky CUresult of the context */
    _Atomic unsigned flags;    /* CU_CTX_* */
    _Atomic uint64_t peers;    /* bit per device whose memory kernels of this context may reach */
    _Atomic unsigned cache_config;
    _Atomic unsigned shared_config;

    _Atomic unsigned long long id; /* new with each activation */

    /* Guarded by the contexts' lock. */
    struct CUctx_st *dead_next;
    unsigned retained; /* of a primary context */
    unsigned attached; /* cuCtxAttach counts */
    size_t limits[SD_LIMITS];

    /* Guarded by the scheduler's lock. */
    struct CUstream_st *streams; /* all of them, linked by ctx_next */
    struct CUstream_st *legacy;
    struct CUstream_st *gather, *gate; /* ctx_event.c; NULL: never needed */
    unsigned busy_blocking; /* blocking streams with unfinished work */
    _Atomic unsigned captures; /* streams being captured */

    /* Guarded by the modules' lock. */
    struct CUmod_st *modules;
    struct CUarray_st *arrays;
    struct CUmipmappedArray_st *mipmaps;
    struct CUevent_st *events; /* scheduler's lock */

    /* Device printf: guarded by print_lock (a leaf). */
    pthread_mutex_t print_lock;
    char *print_text;
    size_t print_len;
    size_t print_size;
    size_t print_lost;

    /* Device malloc: guarded by heap_lock (ranks before the address map). */
    pthread_mutex_t heap_lock;
    struct sd_heap *heap;
};

/* The calling thread's current context, maybe dead; NULL when none. */
CUcontext sd_ctx_current(void);
/* Makes the first failure of the context stick; later ones are ignored. */
void sd_ctx_fail(CUcontext ctx, CUresult cr);
/* Whether a handle that a call names is a context that is there. */
bool sd_ctx_named(CUcontext ctx);
/* CUDA_SUCCESS, or why the context cannot be used. */
CUresult sd_ctx_check(CUcontext ctx);
size_t sd_ctx_limit(CUcontext ctx, CUlimit limit);
CUresult sd_ctx_limit_set(CUcontext ctx, CUlimit limit, size_t value);
unsigned long long sd_ctx_id(CUcontext ctx);

/* Waits for all streams of the context, then writes out what its kernels printed.
 * Returns the sticky error. */
CUresult sd_ctx_drain(CUcontext ctx);
/* Known ones, and at most one way to wait. */
bool sd_ctx_flags_valid(unsigned flags);

/* Device printf: called by the machine; the text is written to standard output at the next
 * synchronisation. */
void sd_ctx_print(CUcontext ctx, const char *text, size_t len);
void sd_ctx_print_flush(CUcontext ctx);

CUresult sd_ctx_create_objects(void); /* primary contexts of all devices, by cuInit */

#endif
