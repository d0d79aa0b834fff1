/* frontend/core/call.c */
#include "frontend/core/call.h"

#include "frontend/core/line.h"
#include "frontend/core/perf.h"
#include "frontend/core/trace.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <string.h>

#define NAMED_MAX 1024u /* functions that were refused and named; a power of two */

__thread struct fe_thread fe_thread __attribute__((tls_model("initial-exec")));

static const struct fe_call_hooks *hooks;

void
fe_call_set_hooks(const struct fe_call_hooks *new_hooks)
{
    hooks = new_hooks;
}

/* --- errors ------------------------------------------------------------------ */

/* Errors after which CUDA's context answers every call with them. */
static bool
is_sticky(CUresult cr)
{
    switch ((int)cr) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
        return true;
    default:
        return false;
    }
}

static void
mark_sticky(struct fe_context_head *head, CUresult cr)
{
    int32_t none = CUDA_SUCCESS;

    atomic_compare_exchange_strong_explicit(&head->sticky, &none, (int32_t)cr, memory_order_relaxed,
                                            memory_order_relaxed);
}

static void
note_sticky(struct fe_call *call, CUresult cr)
{
    if (call->context != NULL && is_sticky(cr))
        mark_sticky((struct fe_context_head *)call->context, cr);
}

void
fe_defer(struct fe_line *l, CUresult cr)
{
    int32_t none = CUDA_SUCCESS;

    atomic_compare_exchange_strong_explicit(&l->deferred, &none, (int32_t)cr, memory_order_relaxed,
                                            memory_order_relaxed);
}

struct fault {
    const struct fe_session *session;
    uint32_t index;
    CUresult cr;
};

static bool
fault_here(void *object, void *user)
{
    const struct fault *fault = user;

    if (fe_object_index(object) != fault->index ||
        ((struct fe_context_head *)object)->session != fault->session)
        return true;
    mark_sticky(object, fault->cr);
    return false;
}

void
fe_defer_in(struct fe_line *l, uint32_t context, CUresult cr)
{
    struct fault fault = {l->session, context, cr};

    if (context != 0 && is_sticky(cr))
        fe_object_each(WIRE_HANDLE_CONTEXT, fault_here, &fault);
    else
        fe_defer(l, cr);
}

void
fe_call_defer(struct fe_session *session, CUresult cr)
{
    fe_defer(session->line, is_sticky(cr) ? CUDA_ERROR_UNKNOWN : cr);
}

/* The program was told cr: it is not told again by a call that did nothing wrong. */
static void
forget_deferred(struct fe_line *l, int32_t cr)
{
    atomic_compare_exchange_strong_explicit(&l->deferred, &cr, CUDA_SUCCESS, memory_order_relaxed,
                                            memory_order_relaxed);
}

/* With a context its faults end too. */
static bool
ends_context(uint16_t id)
{
    return id == WIRE_CALL_cuDevicePrimaryCtxReset_v2 || id == WIRE_CALL_cuCtxDestroy_v2 ||
           id == WIRE_CALL_cuDevicePrimaryCtxRelease_v2;
}

/* Whether CUDA's documentation lets this call return the errors of earlier asynchronous work, and
 * nothing is lost if it does: what makes or ends an object does not carry them. */
static bool
may_carry(uint16_t id)
{
    static const char *const starts[] = {
        "cuLaunch",
        "cuMemcpy",
        "cuMemset",
        "cuCtxSynchronize",
        "cuStreamSynchronize",
        "cuStreamQuery",
        "cuStreamWait",
        "cuEventSynchronize",
        "cuEventQuery",
        "cuEventRecord",
        "cuGraphLaunch",
        "gpBarrier",
        "gpCopy",
        "gpPull",
    };
    const char *name = wire_calls[id].name;
    size_t i;

    for (i = 0; name != NULL && i < GP_ARRAY_LEN(starts); i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

CUresult
fe_lost(struct fe_call *call)
{
    CUresult cr = fe_session_result(call->session);

    /* A record that no frame can hold is refused without ending the session. */
    return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_VALUE;
}

CUresult
fe_malformed(struct fe_call *call)
{
    fe_session_failf(call->session, CUDA_ERROR_DEVICE_UNAVAILABLE,
                     "it broke the protocol: malformed answer to %s", wire_calls[call->id].name);
    return fe_lost(call);
}

CUresult
fe_refuse(const char *name)
{
    static const char *_Atomic named[NAMED_MAX];
    size_t i, at = (uintptr_t)name / 8 % NAMED_MAX;

    for (i = 0; i < NAMED_MAX; i++, at = (at + 1) % NAMED_MAX) {
        const char *there = atomic_load_explicit(&named[at], memory_order_relaxed);

        if (there == NULL && atomic_compare_exchange_strong(&named[at], &there, name)) {
            log_warn("%s is not supported through the pool", name);
            break;
        }
        if (there == name || (there != NULL && strcmp(there, name) == 0))
            break;
    }
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* --- enter -------------------------------------------------------------------- */

static CUresult
enter(struct fe_call *call, enum wire_call id, struct fe_context *context)
{
    struct fe_context_head *head = (struct fe_context_head *)context;

    if (GP_UNLIKELY(!wire_call_set_has(&call->session->calls, (uint16_t)id)))
        return fe_refuse(wire_calls[id].name);
    if (head != NULL) {
        int32_t sticky = atomic_load_explicit(&head->sticky, memory_order_relaxed);

        if (GP_UNLIKELY(fe_object_state(head) != FE_OBJECT_LIVE))
            return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        if (GP_UNLIKELY(sticky != CUDA_SUCCESS)) {
            forget_deferred(call->session->line, sticky);
            return (CUresult)sticky;
        }
    }
    call->context = context;
    call->slot = NULL;
    call->tag = 0;
    call->id = (uint16_t)id;
    call->lent.iov_len = 0;
    return CUDA_SUCCESS;
}

static CUresult
enter_on(struct fe_call *call, enum wire_call id, struct fe_session *session,
         struct fe_context *context)
{
    CUresult cr;

    call->session = fe_session_use(session, &cr);
    if (GP_UNLIKELY(call->session == NULL))
        return cr;
    call->begin_ns = fe_trace_now();
    call->bytes = 0;
    return enter(call, id, context);
}

static struct fe_session *
session_of(const struct fe_context *context)
{
    return ((const struct fe_context_head *)context)->session;
}

CUresult
fe_enter(struct fe_call *call, enum wire_call id)
{
    struct fe_context *context = fe_thread.context;

    if (!wire_calls[id].context)
        return fe_enter_on(call, id, NULL);
    if (GP_UNLIKELY(context == NULL)) {
        CUresult cr = fe_session_error();

        return cr != CUDA_SUCCESS ? cr : CUDA_ERROR_INVALID_CONTEXT;
    }
    return enter_on(call, id, session_of(context), context);
}

CUresult
fe_enter_in(struct fe_call *call, enum wire_call id, struct fe_context *context)
{
    return context != NULL ? enter_on(call, id, session_of(context), context)
                           : fe_enter_on(call, id, NULL);
}

CUresult
fe_enter_on(struct fe_call *call, enum wire_call id, struct fe_session *session)
{
    CUresult cr;

    if (session == NULL && (session = fe_session_get(&cr)) == NULL)
        return cr;
    return enter_on(call, id, session, NULL);
}

CUresult
fe_call_move(struct fe_call *call, struct fe_context *context)
{
    CUresult cr;
    struct fe_session *session = fe_session_use(session_of(context), &cr);

    if (session == NULL)
        return cr;
    call->session = session;
    return enter(call, (enum wire_call)call->id, context);
}

CUresult
fe_call_next(struct fe_call *call, enum wire_call id)
{
    if (call->slot != NULL) {
        if (atomic_load_explicit(&call->slot->done.set, memory_order_acquire) == 0)
            fe_receive_wait(call->session->line, &call->slot->done);
        fe_submit_free_slot(call->session->line, call->slot);
    }
    return enter(call, id, call->context);
}

/* --- handles ------------------------------------------------------------------ */

/* Whether an object is one of another server. */
static bool
elsewhere(const struct fe_call *call, const struct fe_object *object)
{
    return object->context != NULL && object->context != call->context &&
           session_of(object->context) != call->session;
}

static CUresult
stream_wire(struct fe_call *call, const void *handle, uint64_t *id_p)
{
    const struct fe_object *stream;

    if (handle == NULL)
        handle = fe_default_stream();
    if (handle == NULL || handle == (const void *)CU_STREAM_LEGACY) {
        *id_p = 0;
        return CUDA_SUCCESS;
    }
    if (handle == (const void *)CU_STREAM_PER_THREAD) {
        if (hooks == NULL || hooks->per_thread_stream == NULL)
            return CUDA_ERROR_NOT_SUPPORTED;
        return hooks->per_thread_stream(call, id_p);
    }
    stream = fe_object_get(WIRE_HANDLE_STREAM, handle);
    if (stream == NULL || elsewhere(call, stream))
        return CUDA_ERROR_INVALID_HANDLE;
    *id_p = stream->wire;
    return CUDA_SUCCESS;
}

CUresult
fe_handle_wire(struct fe_call *call, enum wire_handle kind, const void *handle, bool nullable,
               uint64_t *id_p)
{
    const struct fe_object *object;

    if (kind == WIRE_HANDLE_STREAM && (handle != NULL || nullable))
        return stream_wire(call, handle, id_p);
    if (handle == NULL && nullable) {
        *id_p = 0;
        return CUDA_SUCCESS;
    }
    object = fe_object_get(kind, handle);
    if (object == NULL && kind == WIRE_HANDLE_FUNCTION)
        object = fe_object_get(WIRE_HANDLE_KERNEL, handle); /* NVIDIA's runtime passes these */
    if (object == NULL)
        return kind == WIRE_HANDLE_CONTEXT ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_HANDLE;
    /* What is asked of an array is asked in its own context: another's failure is not this one's.
     */
    if ((kind == WIRE_HANDLE_ARRAY || kind == WIRE_HANDLE_MIPMAPPED_ARRAY) &&
        object->context != NULL && object->context != call->context) {
        CUresult cr = fe_call_move(call, object->context);

        if (cr != CUDA_SUCCESS)
            return cr;
    }
    if (GP_UNLIKELY(elsewhere(call, object)))
        return CUDA_ERROR_INVALID_HANDLE;
    *id_p = object->wire;
    return CUDA_SUCCESS;
}

CUresult
fe_handle_new(struct fe_call *call, enum wire_handle kind, void **handle_p, uint64_t *id_p)
{
    struct fe_object *object = fe_object_create(kind, call->context);

    if (object == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *handle_p = object;
    *id_p = object->wire;
    return CUDA_SUCCESS;
}

void
fe_handle_drop(struct fe_call *call, void *handle)
{
    (void)call;
    fe_object_destroy(handle);
}

/* --- post, wait, leave ---------------------------------------------------------- */

void *
fe_post(struct fe_call *call, size_t arg_bytes)
{
    return fe_submit_begin(call->session->line, call, arg_bytes, NULL, 0);
}

void *
fe_post_tail(struct fe_call *call, size_t head_bytes, const void *tail, size_t tail_bytes)
{
    return fe_submit_begin(call->session->line, call, head_bytes, tail, tail_bytes);
}

void
fe_settle(struct fe_call *call, const void *tail, size_t tail_bytes)
{
    if (tail_bytes >= FE_TAIL_MIN &&
        tp_settle(call->session->line->lane, tail, tail_bytes) != GP_OK)
        fe_session_failf(call->session, CUDA_ERROR_OUT_OF_MEMORY, "no memory to keep what is sent");
}

void
fe_post_done_lent(struct fe_call *call)
{
    /* Who is owed an answer sends the batch when it waits, right after this. */
    fe_submit_end(call->session->line, call->slot == NULL);
    call->lent.iov_len = 0;
}

void
fe_post_done(struct fe_call *call)
{
    struct iovec lent = call->lent;

    fe_post_done_lent(call);
    if (GP_UNLIKELY(lent.iov_len > 0))
        fe_settle(call, lent.iov_base, lent.iov_len);
}

void
fe_post_done_wait(struct fe_call *call)
{
    fe_submit_end(call->session->line, false);
}

/* A fault of the call's context that became known while it was under way, if it may tell of it. */
static CUresult
fault_of(const struct fe_call *call)
{
    const struct fe_context_head *head = (const struct fe_context_head *)call->context;
    int32_t sticky =
        head != NULL ? atomic_load_explicit(&head->sticky, memory_order_relaxed) : CUDA_SUCCESS;

    return GP_UNLIKELY(sticky != CUDA_SUCCESS) && may_carry(call->id) ? (CUresult)sticky
                                                                      : CUDA_SUCCESS;
}

CUresult
fe_wait(struct fe_call *call, const uint8_t **reply_p, size_t *len_p)
{
    struct fe_line *l = call->session->line;
    struct fe_slot *slot = call->slot;
    const struct wire_result *result;

    if (slot == NULL)
        return fe_malformed(call);
    fe_submit_flush(l);
    fe_receive_wait(l, &slot->done);
    if (atomic_load_explicit(&slot->done.set, memory_order_acquire) == 0) {
        call->slot = NULL; /* the session is over, nobody uses it again */
        return fe_lost(call);
    }
    result = &slot->result;
    note_sticky(call, (CUresult)result->result);
    if (result->deferred_context == 0)
        note_sticky(call, (CUresult)result->deferred);
    *reply_p = slot->bytes;
    *len_p = slot->len;
    return (CUresult)result->result;
}

/* GPUPOOL_PERF=no_async: nothing is under way when a call returns. */
static CUresult
barrier(struct fe_session *session)
{
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr = fe_enter_on(&call, WIRE_CALL_gpBarrier, session);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_post(&call, 0) == NULL)
        return fe_lost(&call);
    fe_post_done(&call);
    cr = fe_wait(&call, &bytes, &len);
    return fe_leave(&call, cr);
}

static CUresult
take_deferred(struct fe_call *call)
{
    CUresult cr = (CUresult)atomic_exchange_explicit(&call->session->line->deferred, CUDA_SUCCESS,
                                                     memory_order_relaxed);

    note_sticky(call, cr);
    return cr;
}

/* A deferred error is there, the call itself ends with cr: what to return. */
static CUresult
settle_deferred(struct fe_call *call, CUresult cr)
{
    struct fe_line *l = call->session->line;
    int32_t deferred = atomic_load_explicit(&l->deferred, memory_order_relaxed);

    if (cr != CUDA_SUCCESS)
        forget_deferred(l, (int32_t)cr);
    else if (ends_context(call->id) && is_sticky((CUresult)deferred))
        forget_deferred(l, deferred);
    else if (may_carry(call->id))
        cr = take_deferred(call);
    return cr;
}

CUresult
fe_leave(struct fe_call *call, CUresult cr)
{
    struct fe_line *l = call->session->line;

    if (call->slot != NULL) {
        /* Posted but not waited for, because something else failed: the slot is busy till then. */
        if (atomic_load_explicit(&call->slot->done.set, memory_order_acquire) == 0) {
            fe_submit_flush(l);
            fe_receive_wait(l, &call->slot->done);
        }
        if (atomic_load_explicit(&call->slot->done.set, memory_order_acquire) != 0)
            fe_submit_free_slot(l, call->slot);
        call->slot = NULL;
        if (cr == CUDA_SUCCESS)
            cr = fault_of(call);
    } else if (GP_UNLIKELY(!fe_perf(FE_PERF_ASYNC)) && cr == CUDA_SUCCESS) {
        cr = barrier(call->session);
        if (cr == CUDA_SUCCESS)
            cr = fault_of(call);
    }
    if (GP_UNLIKELY(atomic_load_explicit(&l->deferred, memory_order_relaxed) != CUDA_SUCCESS))
        cr = settle_deferred(call, cr);
    if (fe_tracing())
        fe_trace_add(wire_calls[call->id].name, "call", call->begin_ns, call->bytes);
    return cr;
}
