/* frontend/cuda/objects.h -- what the client knows of each object of the program
 *
 * Ownership: objects live in slabs (frontend/core/object.h); what they point to is freed when
 *            the object is destroyed.
 * Threads:   fields without a word beside them are set before the handle is given out.
 *
 * Proof of completion: each context numbers the work posted to its streams, under the
 * submission lock, so that numbers and the order on the line agree. A stream remembers the
 * number of its last work; a reply that proves completion moves `proven` up. Waiting for
 * a stream whose last work is proven costs nothing.
 */
#ifndef FE_OBJECTS_H
#define FE_OBJECTS_H

#include "frontend/core/call.h"
#include "protocol/wire/kernel_table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fe_capture; /* capture.h */

/* What kernels take from a stream that captures; guarded by the lock of stream_attr.c. */
struct fe_stream_attributes {
    uint32_t set; /* a bit for each attribute that was ever set; the others are as usual */
    CUaccessPolicyWindow window;
    CUlaunchMemSyncDomainMap domains;
    CUlaunchMemSyncDomain domain;
    unsigned nvlink;
};

struct fe_stream {
    struct fe_object object;
    unsigned flags; /* CU_STREAM_NON_BLOCKING */
    _Atomic int priority;
    uint64_t id;            /* cuStreamGetId */
    bool per_thread;        /* some thread's CU_STREAM_PER_THREAD */
    bool inside;            /* this library's own (context_event.h) */
    struct fe_green *green; /* green.h; NULL: of the context itself */
    uint64_t green_wire;    /* its id then */

    /* Atomic: the last synchronous copy (order.h) that this stream comes behind. */
    _Atomic uint64_t passed;

    /* Atomic; written under the graphs' lock. NULL: it does not capture. */
    _Atomic(struct fe_capture *) capture;

    /* Atomic; written under the submission lock (last) or by whoever learned it (proven). */
    _Atomic uint64_t last;   /* number of its last work */
    _Atomic uint64_t proven; /* its work up to this number is complete */

    struct fe_stream_attributes attributes;
};

struct fe_event {
    struct fe_object object;
    unsigned flags; /* CU_EVENT_* */

    /* Atomic: the work number of the last record, 0 before the first, and what was recorded. */
    _Atomic uint64_t recorded;
    _Atomic uint64_t proven; /* the record with this number is complete */
    _Atomic(struct fe_stream *) stream;
    _Atomic uint64_t stream_wire; /* its id then: a reused object is another stream */
    _Atomic(struct fe_context *) context;

    /* What a capture recorded in it; capture is atomic, all are written under the graphs' lock. */
    _Atomic(struct fe_capture *) capture;
    CUgraphNode *capture_nodes; /* owned */
    size_t capture_count;
};

/* A stream of this library's own, and an event for it. */
struct fe_inside {
    struct fe_stream *stream;
    struct fe_event *event;
};

/* What stands for all streams of a context or of a green one: context_event.h, which guards it. */
struct fe_gates {
    struct fe_inside gather, gate;
    _Atomic bool gated, legacy_gated; /* new streams, the legacy stream have to wait */
};

#define FE_LIMITS 16

struct fe_context {
    struct fe_context_head head;
    int device; /* ordinal of the program */
    bool primary;

    /* Guarded by the context lock (context.c). */
    unsigned retained; /* primary */
    unsigned flags;
    unsigned attached; /* cuCtxAttach */

    /* Atomic: plain settings. */
    _Atomic uint64_t id; /* cuCtxGetId; a new one for each activation */
    _Atomic int cache_config, shared_config;
    _Atomic uint64_t peers; /* devices whose memory it may reach, a bit for each */

    /* Limits as they were when so much was submitted, for a driver may raise some for its work.
     * Guarded by a lock of context_config.c. */
    bool limits_known;
    uint64_t limits_at;
    uint64_t limits[FE_LIMITS];
    int32_t limit_results[FE_LIMITS];

    _Atomic uint64_t submitted; /* number of the last work; moves under the submission lock */
    _Atomic uint64_t proven;    /* all work up to here is complete */
    struct fe_stream legacy;    /* the default stream; not a handle, wire id 0 */

    /* The last synchronous copy to the device: its number, atomic, and where it was posted,
     * guarded by the lock of order.c. */
    _Atomic uint64_t copied;
    uint64_t copied_recorded; /* the event stands behind the copy with this number */
    struct fe_stream *copied_in;
    uint64_t copied_wire;
    struct fe_event *order_event; /* not the program's */
    uint64_t order_event_wire;
    _Atomic unsigned loose_streams; /* non-blocking and per-thread ones */
    _Atomic unsigned captures;      /* streams that capture */

    struct fe_gates gates;

    /* Guarded by a lock of relay.c: for copies from and to other servers. */
    struct fe_stream *relay[2]; /* for what is done here, and for bytes that go elsewhere */
    uint64_t relay_ctx_wire;    /* the context's id then */
};

/* The kernels and globals of one module or library; kernels.h. */
struct fe_kernels;

/* A CUfunction or a CUkernel. */
/* What a call that stays here says of the current context first. */
static inline CUresult
fe_context_usable(const struct fe_context *ctx)
{
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (fe_object_state(ctx) != FE_OBJECT_LIVE)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return (CUresult)atomic_load_explicit(&ctx->head.sticky, memory_order_relaxed);
}

struct fe_function {
    struct fe_object object;    /* wire: wire_function_id() */
    struct fe_session *session; /* that it is named to */
    struct fe_kernels *owner;
    const char *name; /* in the owner's table */
    uint32_t row;

    /* Set together, before ready. */
    uint32_t nparams;
    uint32_t param_bytes; /* of all values, without gaps */
    const struct wire_kernel_param *params;
    _Atomic bool ready; /* release after the above */

    /* An attribute is written before its bit: release, acquire. */
    _Atomic uint32_t mask;
    int32_t attributes[WIRE_KERNEL_ATTRIBUTES];
    /* Grows when an attribute is set: occupancy answers of an older number are void. */
    _Atomic uint32_t version;

    /* Guarded by the owner's lock, then constant. A CUfunction that was made from a CUkernel stands
     * for it: all that is known is kept with the kernel. */
    struct fe_function *kernel;
    struct fe_function *function; /* the other way round */

    /* Of a library's kernel: itself on other servers, by their indexes; NULL while nobody asked.
     * Atomic: written under a lock of library.c. */
    _Atomic(struct fe_function *) *_Atomic there;
};

struct fe_module {
    struct fe_object object;
    struct fe_kernels *kernels;
    /* A library's in this context: the library's id; else 0. Set before the handle is known. */
    uint64_t library_wire;
};

struct fe_library {
    struct fe_object object; /* context NULL */
    struct fe_session *session;
    struct fe_kernels *kernels;

    /* Where there are several servers: what the others load when it is first used there. Guarded by
     * a lock of library.c. */
    struct fe_library *first; /* of one that no program has: whose copy it is */
    struct fe_library_image *image;
    struct fe_library *there[FE_SESSIONS_MAX];
};

/* A CUarray; also a level of a mipmapped one, or a plane of one. */
struct fe_array {
    struct fe_object object;
    CUDA_ARRAY3D_DESCRIPTOR desc; /* as the driver has it */
    _Atomic uint64_t charged;     /* bytes of the lease */
    struct fe_array *parent;      /* a mipmapped array or an array with planes; it goes with it */
    uint32_t index;               /* the level or plane */
    uint32_t levels;              /* of a mipmapped array */
};

/* -- streams and proof --------------------------------------------------------------- */

/* The object behind a stream handle in call's context, and its wire id. NULL means the thread's
 * default stream. Errors: CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_CONTEXT for a stream
 * of a context that is gone; those of captures, which this call does not know (capture.h). */
CUresult fe_stream_resolve(struct fe_call *call, CUstream handle, struct fe_stream **stream_p,
                           uint64_t *wire_p);

/* A priority as the device takes it: clamped, for lower numbers are greater. */
int fe_stream_priority(const struct fe_call *call, int priority);

/* What a captured kernel has from its stream; stream_attr.c. */
struct fe_node_kernel;
CUresult fe_stream_inherit(struct fe_stream *stream, struct fe_node_kernel *k);

/* Count work for a stream; between fe_post and fe_post_done. The work's number. */
static inline uint64_t
fe_stream_mark(struct fe_call *call, struct fe_stream *stream)
{
    uint64_t n = atomic_load_explicit(&call->context->submitted, memory_order_relaxed) + 1;

    atomic_store_explicit(&call->context->submitted, n, memory_order_release);
    atomic_store_explicit(&stream->last, n, memory_order_release);
    return n;
}

/* The number of the last work posted so far; between fe_post and fe_post_done. */
static inline uint64_t
fe_context_now(const struct fe_context *ctx)
{
    return atomic_load_explicit(&ctx->submitted, memory_order_acquire);
}

/* coherent.h: memory that was touched while work was under way. */
extern _Atomic unsigned fe_coherent_watched;
void fe_coherent_proved(void);

/* value moves up to n, never down. */
static inline void
fe_prove(_Atomic uint64_t *value, uint64_t n)
{
    uint64_t old = atomic_load_explicit(value, memory_order_relaxed);

    while (old < n && !atomic_compare_exchange_weak_explicit(value, &old, n, memory_order_release,
                                                             memory_order_relaxed))
        ;
    if (__builtin_expect(atomic_load_explicit(&fe_coherent_watched, memory_order_relaxed) != 0, 0))
        fe_coherent_proved();
}

/* Whether work n is known to be complete that was posted to this stream; its wire id tells
 * whether the object is still the same stream. */
static inline bool
fe_work_proven(const struct fe_context *ctx, const struct fe_stream *stream, uint64_t stream_wire,
               uint64_t n)
{
    return atomic_load_explicit(&ctx->proven, memory_order_acquire) >= n ||
           (stream->object.wire == stream_wire &&
            atomic_load_explicit(&stream->proven, memory_order_acquire) >= n);
}

/* Until all that was posted to a context is complete, also while a stream of it captures. */
CUresult fe_context_wait(struct fe_context *ctx);

/* Whether all work of a stream is known to be complete. */
bool fe_stream_clean(struct fe_context *ctx, struct fe_stream *stream);

#endif
