/* backend/cuda/context.h -- a context of the client and what the server keeps in it
 *
 * Threads: made and ended by the executor; event pool and staging from any thread.
 * Lock:    context.lock (rank 40), events only.
 */
#ifndef BE_CONTEXT_H
#define BE_CONTEXT_H

#include "backend/driver/driver.h"
#include "backend/memory/gate.h"
#include "backend/memory/staging.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct be_session;

struct be_context {
    /* Set once. */
    const struct be_driver *driver;
    CUcontext handle;
    int32_t device;
    uint32_t index; /* on the wire */
    bool primary;
    atomic_size_t *staging_bytes; /* of all contexts of the session */

    bool ending; /* guarded by session.callbacks_lock: nobody waits for the client any more */

    /* The executor's. */
    struct be_staging *staging; /* made at the first copy; then its own lock */
    CUstream copier;            /* non-blocking, for copies in the background */
    struct be_gates *gates;     /* made at the first of those; then its own lock */
    uint64_t charged_bytes;     /* for it and its limits */
    uint64_t peers;             /* devices whose memory it reaches, a bit for each */
    CUstream pager;             /* non-blocking, for pages; nothing is left in it */

    pthread_mutex_t lock; /* rank 40 */
    /* Guarded by lock. */
    CUevent *events; /* free ones, without timing */
    size_t event_count, event_cap;
};

static inline CUcontext
be_context_handle(const struct be_context *context)
{
    return context->handle;
}

/* An event of ours; any thread with the context current. */
CUresult be_context_event(struct be_context *context, CUevent *event_p);
void be_context_event_put(struct be_context *context, CUevent event);
/* An event recorded on stream now. */
CUresult be_context_mark(struct be_context *context, CUstream stream, CUevent *event_p);
/* Executor. */
CUresult be_context_staging(struct be_context *context, struct be_staging **pool_p);
CUresult be_context_copier(struct be_context *context, CUstream *stream_p);
CUresult be_context_gates(struct be_context *context, struct be_gates **gates_p);
CUresult be_context_pager(struct be_context *context, CUstream *stream_p);
/* True if nothing of the context runs now; CUDA_ERROR_NOT_READY, or its sticky error. */
CUresult be_context_query(struct be_session *session, struct be_context *context);
/* The same of what a call in this stream of the context would come behind. */
CUresult be_context_query_stream(struct be_session *session, struct be_context *context,
                                 CUstream stream);

/* Ends all contexts of the session; its waiters have nothing left. */
void be_contexts_destroy(struct be_session *session);

#endif
