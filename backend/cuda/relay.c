/* backend/cuda/relay.c -- streams that wait for what the client knows of another server */
#include "backend/cuda/relay.h"

#include "backend/cuda/jobs.h"
#include "be_hooks.h"
#include "protocol/base/util.h"

#include <stdlib.h>

#define BE_RELAYS_MAX (1u << 16)

/* A gate that is closed. Guarded by callbacks_lock. */
struct be_relay {
    struct be_relay *next;
    const struct be_context *context;
    uint64_t number;
    struct be_gates *gates;
    struct be_gate *gate;
};

/* On its way to a gate. */
struct coming {
    struct be_wait wait;
    struct be_session *session;
    uint64_t number;
};

void
be_relay_tell(struct be_session *session, uint64_t gate, CUresult cr)
{
    const struct wire_gpNoticeGate_args args = {.gate = gate, .status = (int32_t)cr};

    BE_NOTICE(session, gpNoticeGate, 0, &args);
}

/* -- gates ------------------------------------------------------------------------------------- */

static void
coming_run(struct be_wait *wait, CUresult cr)
{
    struct coming *coming = GP_CONTAINER_OF(wait, struct coming, wait);
    struct be_session *session = coming->session;

    be_relay_tell(session, coming->number, cr);
    be_flush(session);
    be_context_event_put(wait->context, wait->event);
    be_pending_drop(session, coming);
}

/* Mark where the stream is; what follows is the gate. */
static CUresult
coming_create(struct be_call *call, CUstream stream, uint64_t number, struct coming **coming_p)
{
    struct coming *coming = be_pending_new(call->session, sizeof(*coming));
    CUresult cr;

    if (coming == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    coming->session = call->session;
    coming->number = number;
    cr = be_wait_mark(&coming->wait, call->context, stream, coming_run);
    if (cr != CUDA_SUCCESS) {
        be_pending_drop(call->session, coming);
        return cr;
    }
    *coming_p = coming;
    return CUDA_SUCCESS;
}

static void
coming_drop(struct coming *coming)
{
    if (coming == NULL)
        return;
    be_context_event_put(coming->wait.context, coming->wait.event);
    be_pending_drop(coming->session, coming);
}

static unsigned
count_locked(const struct be_session *session)
{
    unsigned n = 0;

    for (const struct be_relay *r = session->relays; r != NULL; r = r->next)
        n++;
    return n;
}

static CUresult
close_gate(struct be_call *call, CUstream stream, uint64_t number)
{
    struct be_session *session = call->session;
    struct be_relay *relay = calloc(1, sizeof(*relay));
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;

    if (relay == NULL)
        return cr;
    relay->context = call->context;
    relay->number = number;
    pthread_mutex_lock(&session->callbacks_lock);
    if (count_locked(session) < BE_RELAYS_MAX)
        cr = CUDA_SUCCESS;
    pthread_mutex_unlock(&session->callbacks_lock);
    if (cr == CUDA_SUCCESS)
        cr = be_context_gates(call->context, &relay->gates);
    if (cr == CUDA_SUCCESS)
        cr = be_gate_close(relay->gates, stream, &relay->gate);
    if (cr != CUDA_SUCCESS) {
        free(relay);
        return cr;
    }
    pthread_mutex_lock(&session->callbacks_lock);
    relay->next = session->relays;
    session->relays = relay;
    pthread_mutex_unlock(&session->callbacks_lock);
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpGateClose(struct be_call *call, const struct wire_gpGateClose_args *args)
{
    struct coming *coming = NULL;
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr == CUDA_SUCCESS && args->tell != 0)
        cr = coming_create(call, stream, args->gate, &coming);
    if (cr == CUDA_SUCCESS)
        cr = close_gate(call, stream, args->gate);
    if (cr != CUDA_SUCCESS) {
        coming_drop(coming);
        be_relay_tell(call->session, args->gate, cr);
    } else if (coming != NULL) {
        be_park(call->session, &coming->wait);
    }
    return CUDA_SUCCESS; /* the notice says it */
}

/* The lock is held. NULL: the client's number is none, or the gate went with its context. */
static struct be_relay *
take_locked(struct be_session *session, uint64_t number)
{
    for (struct be_relay **at = &session->relays; *at != NULL; at = &(*at)->next) {
        struct be_relay *relay = *at;

        if (relay->number != number)
            continue;
        *at = relay->next;
        return relay;
    }
    return NULL;
}

CUresult
be_hook_gpGateOpen(struct be_call *call, const struct wire_gpGateOpen_args *args)
{
    struct be_session *session = call->session;
    struct be_relay *relay;

    pthread_mutex_lock(&session->callbacks_lock);
    relay = take_locked(session, args->gate);
    pthread_mutex_unlock(&session->callbacks_lock);
    if (relay != NULL)
        be_gate_open(relay->gates, relay->gate);
    free(relay);
    return CUDA_SUCCESS;
}

void
be_relays_end(struct be_session *session, const struct be_context *context)
{
    pthread_mutex_lock(&session->callbacks_lock);
    for (struct be_relay **at = &session->relays; *at != NULL;) {
        struct be_relay *relay = *at;

        if (context != NULL && relay->context != context) {
            at = &relay->next;
            continue;
        }
        *at = relay->next;
        be_gate_open(relay->gates, relay->gate);
        free(relay);
    }
    pthread_mutex_unlock(&session->callbacks_lock);
}
