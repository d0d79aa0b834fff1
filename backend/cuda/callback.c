/* backend/cuda/callback.c -- host functions of the client, and bytes pulled from it */
#include "backend/cuda/callback.h"

#include "backend/cuda/graph.h"
#include "backend/cuda/jobs.h"
#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/data.h"

#include <stdlib.h>
#include <string.h>

#define BE_PULL_BYTES    BE_STAGING_BLOCK_MAX
#define BE_CALLBACKS_MAX (1u << 16)

struct be_callback {
    /* Set once. */
    struct be_session *session;
    struct be_context *context;
    uint32_t tag;
    uint64_t id;      /* the client's callback, or the address it is asked for */
    uint8_t *pull_to; /* NULL: a host function, or bytes that we send */
    uint64_t pull_bytes;
    const uint8_t *push_from; /* not NULL: send pull_bytes from here, id is the data's */

    struct be_wait notice; /* of the notices' thread */

    /* Guarded by callbacks_lock. */
    CUresult status;
    uint64_t pulled;
    bool done, started, noticed;
    struct be_callback *next;
};

static struct be_callback *
callback_create(struct be_session *session, struct be_context *context, uint64_t id)
{
    struct be_callback *callback = NULL;

    pthread_mutex_lock(&session->callbacks_lock);
    if (session->callbacks_waiting < BE_CALLBACKS_MAX)
        callback = calloc(1, sizeof(*callback));
    if (callback != NULL) {
        callback->session = session;
        callback->context = context;
        callback->id = id;
        if (++session->next_callback == 0)
            session->next_callback = 1;
        callback->tag = session->next_callback;
        callback->next = session->callbacks;
        session->callbacks = callback;
        session->callbacks_waiting++;
    }
    pthread_mutex_unlock(&session->callbacks_lock);
    return callback;
}

static void
callback_unlink_locked(struct be_session *session, struct be_callback *callback)
{
    struct be_callback **at = &session->callbacks;

    while (*at != callback)
        at = &(*at)->next;
    *at = callback->next;
    session->callbacks_waiting--;
}

static void
callback_drop(struct be_callback *callback)
{
    struct be_session *session = callback->session;

    pthread_mutex_lock(&session->callbacks_lock);
    callback_unlink_locked(session, callback);
    pthread_mutex_unlock(&session->callbacks_lock);
    free(callback);
}

bool
be_callbacks_pending(struct be_session *session)
{
    bool pending;

    pthread_mutex_lock(&session->callbacks_lock);
    pending = session->callbacks_waiting != 0 || session->relays != NULL;
    pthread_mutex_unlock(&session->callbacks_lock);
    return pending;
}

static void
push_bytes(const struct be_callback *callback)
{
    struct wire_data head = {0};

    while (head.offset < callback->pull_bytes) {
        uint64_t bytes = gp_min_u64(callback->pull_bytes - head.offset, BE_STAGING_BLOCK_MAX);

        if (!be_data_send(callback->session, (uint32_t)callback->id, &head,
                          callback->push_from + head.offset, bytes))
            break;
        head.offset += bytes;
    }
}

/* On the notices' thread: a callback proves what was queued before it. */
static void
notice_run(struct be_wait *wait, CUresult cr)
{
    struct be_callback *callback = GP_CONTAINER_OF(wait, struct be_callback, notice);
    struct be_session *session = callback->session;

    (void)cr;
    be_prove(session, UINT64_MAX);
    if (callback->push_from != NULL) {
        push_bytes(callback);
    } else if (callback->pull_to == NULL) {
        struct wire_gpNoticeHost_args args = {.callback = callback->id,
                                              .status = (int32_t)callback->status};

        BE_NOTICE(session, gpNoticeHost, callback->tag, &args);
    } else {
        struct wire_gpNoticePull_args args = {.source = callback->id,
                                              .bytes = callback->pull_bytes};

        BE_NOTICE(session, gpNoticePull, callback->tag, &args);
    }
    be_flush(session);
    pthread_mutex_lock(&session->callbacks_lock);
    callback->noticed = true;
    callback->done = callback->done || callback->push_from != NULL;
    pthread_cond_broadcast(&session->callbacks_done);
    pthread_mutex_unlock(&session->callbacks_lock);
}

/* On the driver's thread, in stream order; no call of the driver is allowed here. */
static void
callback_wait(struct be_callback *callback, CUresult status)
{
    struct be_session *session = callback->session;

    pthread_mutex_lock(&session->callbacks_lock);
    callback->started = true;
    callback->status = status;
    pthread_mutex_unlock(&session->callbacks_lock);
    callback->notice.kind = BE_WAIT_NOTHING;
    callback->notice.lane = session; /* one lane: notices leave in order */
    callback->notice.run = notice_run;
    be_waits_submit(session->notices, &callback->notice);

    pthread_mutex_lock(&session->callbacks_lock);
    while (!callback->noticed ||
           (!callback->done && !session->closing && !callback->context->ending))
        pthread_cond_wait(&session->callbacks_done, &session->callbacks_lock);
    callback_unlink_locked(session, callback);
    pthread_cond_broadcast(&session->callbacks_done);
    pthread_mutex_unlock(&session->callbacks_lock);
    free(callback);
}

/* CUhostFn */
static void
host_function(void *arg)
{
    callback_wait(arg, CUDA_SUCCESS);
}

/* CUstreamCallback */
static void
stream_callback(CUstream stream, CUresult status, void *arg)
{
    (void)stream;
    callback_wait(arg, status);
}

CUresult
be_hook_cuLaunchHostFunc(struct be_call *call, const struct wire_cuLaunchHostFunc_args *args)
{
    struct be_callback *callback;
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuLaunchHostFunc == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    callback = callback_create(call->session, call->context, args->callback);
    if (callback == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = call->driver->cuLaunchHostFunc(stream, host_function, callback);
    if (cr != CUDA_SUCCESS)
        callback_drop(callback);
    return cr;
}

CUresult
be_hook_cuStreamAddCallback(struct be_call *call, const struct wire_cuStreamAddCallback_args *args)
{
    struct be_callback *callback;
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (call->driver->cuStreamAddCallback == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    callback = callback_create(call->session, call->context, args->callback);
    if (callback == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = call->driver->cuStreamAddCallback(stream, stream_callback, callback, args->flags);
    if (cr != CUDA_SUCCESS)
        callback_drop(callback);
    return cr;
}

/* The callback with this tag that has started, with the lock held; NULL for a tag that the client
 * made up. */
static struct be_callback *
callback_find_locked(struct be_session *session, uint32_t tag)
{
    for (struct be_callback *c = session->callbacks; c != NULL; c = c->next)
        if (c->tag == tag && c->started && !c->done && c->push_from == NULL)
            return c;
    return NULL;
}

/* The answer to one that no longer waits, because its context ended, is late and not wrong. */
static bool
tag_was_given_locked(const struct be_session *session, uint32_t tag)
{
    return tag != 0 && tag <= session->next_callback;
}

CUresult
be_hook_gpHostDone(struct be_call *call, const struct wire_gpHostDone_args *args)
{
    struct be_session *session = call->session;
    struct be_callback *callback;
    CUresult cr = CUDA_SUCCESS;

    pthread_mutex_lock(&session->callbacks_lock);
    callback = callback_find_locked(session, args->tag);
    if (callback != NULL && callback->pull_to == NULL) {
        callback->done = true;
        pthread_cond_broadcast(&session->callbacks_done);
    } else if (callback != NULL || !tag_was_given_locked(session, args->tag)) {
        cr = CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_unlock(&session->callbacks_lock);
    return cr;
}

/* -- pulls
 * ------------------------------------------------------------------------------------------ */

CUresult
be_hook_gpPulled(struct be_call *call, const struct wire_gpPulled_args *args)
{
    struct be_session *session = call->session;
    CUresult cr = CUDA_ERROR_INVALID_VALUE;
    struct be_callback *callback;

    pthread_mutex_lock(&session->callbacks_lock);
    callback = callback_find_locked(session, args->tag);
    if (callback != NULL && callback->pull_to != NULL && args->offset == callback->pulled &&
        args->data_len <= callback->pull_bytes - callback->pulled) {
        memcpy(callback->pull_to + args->offset, args->data, args->data_len);
        callback->pulled += args->data_len;
        if (callback->pulled == callback->pull_bytes) {
            callback->done = true;
            pthread_cond_broadcast(&session->callbacks_done);
        }
        cr = CUDA_SUCCESS;
    } else if (callback == NULL && tag_was_given_locked(session, args->tag)) {
        cr = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&session->callbacks_lock);
    return cr;
}

static CUresult
pull_piece(struct be_call *call, CUstream stream, struct be_block *block, uint64_t dst,
           uint64_t source, uint64_t bytes)
{
    struct be_callback *callback = callback_create(call->session, call->context, source);
    CUresult cr;

    if (callback == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    callback->pull_to = block->data;
    callback->pull_bytes = bytes;
    cr = call->driver->cuLaunchHostFunc(stream, host_function, callback);
    if (cr != CUDA_SUCCESS) {
        callback_drop(callback);
        return cr;
    }
    return call->driver->cuMemcpyHtoDAsync_v2(dst, block->data, bytes, stream);
}

CUresult
be_hook_gpPullAsync(struct be_call *call, const struct wire_gpPullAsync_args *args)
{
    struct be_staging *staging;
    struct be_block *block;
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, args->dst, args->bytes);
    if (cr == CUDA_SUCCESS && call->driver->cuLaunchHostFunc == NULL)
        cr = CUDA_ERROR_NOT_SUPPORTED;
    if (cr == CUDA_SUCCESS)
        cr = be_context_staging(call->context, &staging);
    if (cr != CUDA_SUCCESS || args->bytes == 0)
        return cr;
    cr = be_staging_get(staging, gp_min_u64(args->bytes, BE_PULL_BYTES), true, &block);
    if (cr != CUDA_SUCCESS)
        return cr;
    /* One block does: in stream order a piece is asked for when the one before is copied. */
    for (uint64_t at = 0; at < args->bytes && cr == CUDA_SUCCESS; at += BE_PULL_BYTES)
        cr = pull_piece(call, stream, block, args->dst + at, args->source + at,
                        gp_min_u64(args->bytes - at, BE_PULL_BYTES));
    be_staging_put_after(staging, block, stream);
    return cr;
}

/* -- host functions inside graphs
 * ---------------------------------------------------------------- */

/* A graph cannot go on without it, nor say so: the session ends. */
static struct be_callback *
graph_callback(struct be_session *session, struct be_context *context, uint64_t id)
{
    struct be_callback *callback = callback_create(session, context, id);

    if (callback == NULL) {
        log_error("session: no memory for a host function inside a graph");
        atomic_store_explicit(&session->broken, true, memory_order_relaxed);
    }
    return callback;
}

void
be_callback_call(struct be_session *session, struct be_context *context, uint64_t token)
{
    struct be_callback *callback = graph_callback(session, context, token);

    if (callback != NULL)
        callback_wait(callback, CUDA_SUCCESS);
}

void
be_callback_pull(struct be_session *session, struct be_context *context, uint64_t token,
                 uint8_t *to, uint64_t bytes)
{
    struct be_callback *callback = graph_callback(session, context, token);

    if (callback == NULL)
        return;
    callback->pull_to = to;
    callback->pull_bytes = bytes;
    callback_wait(callback, CUDA_SUCCESS);
}

void
be_callback_push(struct be_session *session, struct be_context *context, uint32_t data,
                 const uint8_t *from, uint64_t bytes)
{
    struct be_callback *callback = graph_callback(session, context, data);

    if (callback == NULL)
        return;
    callback->push_from = from;
    callback->pull_bytes = bytes;
    callback_wait(callback, CUDA_SUCCESS);
}

/* -- end
 * --------------------------------------------------------------------------------------------- */

void
be_callbacks_close(struct be_session *session)
{
    pthread_mutex_lock(&session->callbacks_lock);
    session->closing = true;
    pthread_cond_broadcast(&session->callbacks_done);
    pthread_mutex_unlock(&session->callbacks_lock);
}

void
be_callbacks_end(struct be_session *session, struct be_context *context)
{
    pthread_mutex_lock(&session->callbacks_lock);
    context->ending = true;
    pthread_cond_broadcast(&session->callbacks_done);
    pthread_mutex_unlock(&session->callbacks_lock);
}

static bool
started_any_locked(const struct be_session *session, const struct be_context *context)
{
    for (const struct be_callback *c = session->callbacks; c != NULL; c = c->next)
        if (c->context == context && c->started)
            return true;
    return false;
}

void
be_callbacks_drain(struct be_session *session, const struct be_context *context)
{
    pthread_mutex_lock(&session->callbacks_lock);
    while (started_any_locked(session, context))
        pthread_cond_wait(&session->callbacks_done, &session->callbacks_lock);
    pthread_mutex_unlock(&session->callbacks_lock);
}

void
be_callbacks_destroy(struct be_session *session)
{
    /* Those that a broken context never called. */
    while (session->callbacks != NULL) {
        struct be_callback *callback = session->callbacks;

        session->callbacks = callback->next;
        free(callback);
    }
}
