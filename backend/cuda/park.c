/* backend/cuda/park.c -- calls that are answered when the device got there */
#include "backend/cuda/jobs.h"
#include "backend/cuda/relay.h"

#include "protocol/base/util.h"

#include <stdlib.h>

/* A reply that waits for an event or a context. */
struct be_parked {
    struct be_wait wait;
    struct be_call call;
    uint64_t before;            /* jobs below it are proven by the answer */
    bool own_event;             /* goes back to the context's pool */
    struct be_event_hold *hold; /* the client's event, kept while we wait */
    uint64_t gate;              /* with a call that owes no reply: what is told instead */
};

/* A client's event that somebody waits for. */
struct be_event_hold {
    CUevent event;
    atomic_uint refs; /* waits, and one for the slot while it has this event */
    const struct be_driver *driver;
    struct be_event_hold *next;
};

void
be_park(struct be_session *session, struct be_wait *wait)
{
    wait->next = NULL;
    *session->fresh_tail = wait;
    session->fresh_tail = &wait->next;
}

static CUresult
wait_query(struct be_session *session, const struct be_wait *wait)
{
    CUresult cr = CUDA_SUCCESS;

    if (wait->context != NULL)
        cr = be_use_context(session, wait->context);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (wait->kind == BE_WAIT_CONTEXT)
        return be_context_query(session, wait->context);
    return session->driver->table.cuEventQuery(wait->done);
}

bool
be_parked_poll(struct be_session *session)
{
    struct be_wait **at = &session->fresh;

    while (*at != NULL) {
        struct be_wait *wait = *at;
        CUresult cr = wait_query(session, wait);

        if (cr == CUDA_ERROR_NOT_READY) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        if (*at == NULL)
            session->fresh_tail = at;
        wait->run(wait, cr);
    }
    return session->fresh != NULL;
}

void
be_parked_hand_over(struct be_session *session)
{
    while (session->fresh != NULL) {
        struct be_wait *wait = session->fresh;

        session->fresh = wait->next;
        be_waits_submit(session->waits, wait);
    }
    session->fresh_tail = &session->fresh;
}

void
be_parked_forget_lane(struct be_session *session, const void *lane)
{
    for (struct be_wait *wait = session->fresh; wait != NULL; wait = wait->next)
        if (wait->lane == lane)
            wait->lane = NULL;
    be_waits_forget_lane(session->waits, lane);
}

static void
hold_put(struct be_event_hold *hold)
{
    if (atomic_fetch_sub_explicit(&hold->refs, 1, memory_order_acq_rel) == 1) {
        if (hold->event != NULL)
            (void)hold->driver->table.cuEventDestroy_v2(hold->event);
        free(hold);
    }
}

static void
parked_free(struct be_parked *parked)
{
    be_pending_put(parked->call.session);
    free(parked);
}

static void
parked_run(struct be_wait *wait, CUresult cr)
{
    struct be_parked *parked = GP_CONTAINER_OF(wait, struct be_parked, wait);
    struct be_session *session = parked->call.session;

    if (wait->kind == BE_WAIT_CONTEXT)
        cr = session->driver->table.cuCtxSynchronize(); /* flushes what the device printed */
    be_prove(session, parked->before);
    if (parked->call.tag != 0) {
        be_reply_plain(&parked->call, cr);
    } else {
        be_relay_tell(session, parked->gate, cr);
        be_flush(session);
    }
    if (parked->own_event)
        be_context_event_put(wait->context, wait->event);
    if (parked->hold != NULL)
        hold_put(parked->hold);
    parked_free(parked);
}

static struct be_parked *
parked_create(struct be_call *call)
{
    struct be_parked *parked;

    if (!be_pending_take(call->session))
        return NULL;
    parked = calloc(1, sizeof(*parked));
    if (parked == NULL) {
        be_pending_put(call->session);
        return NULL;
    }
    parked->call = *call;
    parked->before = call->session->next_job;
    parked->wait.run = parked_run;
    parked->wait.context = call->context;
    return parked;
}

CUresult
be_park_event(struct be_call *call, CUevent event, const void *lane)
{
    struct be_parked *parked = parked_create(call);

    if (parked == NULL) {
        be_context_event_put(call->context, event);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    parked->wait.kind = BE_WAIT_EVENT;
    parked->wait.event = parked->wait.done = event;
    parked->wait.lane = lane;
    parked->own_event = true;
    be_park(call->session, &parked->wait);
    return BE_PARKED;
}

CUresult
be_park_context(struct be_call *call)
{
    struct be_parked *parked = parked_create(call);

    if (parked == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    parked->wait.kind = BE_WAIT_CONTEXT;
    be_park(call->session, &parked->wait);
    return BE_PARKED;
}

/* -- the client's events ----------------------------------------------------------------------- */

/* The slot's object is the CUevent itself; only while somebody waits a hold knows it. Holds are
 * few, so a list does; they are the executor's, but for their count. */
static struct be_event_hold *
hold_find(struct be_session *session, CUevent event)
{
    for (struct be_event_hold *hold = session->holds; hold != NULL; hold = hold->next)
        if (hold->event == event)
            return hold;
    return NULL;
}

/* Forget holds that nobody waits for any more; the slot keeps its event. */
static void
holds_sweep(struct be_session *session)
{
    struct be_event_hold **at = &session->holds;

    while (*at != NULL) {
        struct be_event_hold *hold = *at;

        if (atomic_load_explicit(&hold->refs, memory_order_acquire) > 1) {
            at = &hold->next;
            continue;
        }
        *at = hold->next;
        free(hold);
    }
}

CUresult
be_park_user_event(struct be_call *call, struct be_handle_slot *slot, uint64_t gate)
{
    struct be_session *session = call->session;
    struct be_parked *parked = parked_create(call);
    struct be_event_hold *hold;
    struct be_handle_slot *context;

    if (parked == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    holds_sweep(session);
    hold = hold_find(session, slot->object);
    if (hold == NULL) {
        hold = calloc(1, sizeof(*hold));
        if (hold == NULL) {
            parked_free(parked);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        hold->event = slot->object;
        hold->driver = session->driver;
        atomic_init(&hold->refs, 1);
        hold->next = session->holds;
        session->holds = hold;
    }
    atomic_fetch_add_explicit(&hold->refs, 1, memory_order_relaxed);
    context = be_handles_at(&session->handles, WIRE_HANDLE_CONTEXT, slot->context);
    parked->wait.context = context != NULL ? context->object : NULL;
    parked->wait.kind = BE_WAIT_EVENT;
    parked->wait.event = parked->wait.done = slot->object;
    parked->hold = hold;
    parked->gate = gate;
    be_park(session, &parked->wait);
    return BE_PARKED;
}

/* Take the slot's event out of its hold; true if waiters still have it. */
static bool
hold_leave(struct be_session *session, CUevent event)
{
    struct be_event_hold *hold;

    holds_sweep(session);
    hold = hold_find(session, event);
    if (hold == NULL)
        return false;
    for (struct be_event_hold **at = &session->holds; *at != NULL; at = &(*at)->next) {
        if (*at == hold) {
            *at = hold->next;
            break;
        }
    }
    hold_put(hold); /* whoever is last destroys the event */
    return true;
}

CUresult
be_user_event_renew(struct be_call *call, struct be_handle_slot *slot)
{
    CUevent event = NULL;
    CUresult cr;

    /* Who waits for a fixed one waits a little longer. */
    if (slot->fixed || call->session->holds == NULL ||
        hold_find(call->session, slot->object) == NULL)
        return CUDA_SUCCESS;
    cr = call->driver->cuEventCreate(&event, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!hold_leave(call->session, slot->object))
        (void)call->driver->cuEventDestroy_v2(slot->object);
    slot->object = event;
    return CUDA_SUCCESS;
}

CUresult
be_user_event_destroy(struct be_session *session, struct be_handle_slot *slot)
{
    CUevent event = slot->object;

    be_handles_remove(slot);
    if (session->holds != NULL && hold_leave(session, event))
        return CUDA_SUCCESS;
    return session->driver->table.cuEventDestroy_v2(event);
}

void
be_events_destroy(struct be_session *session)
{
    holds_sweep(session);
    session->holds = NULL;
}
