/* backend/cuda/pace.c */
#include "backend/cuda/pace_priv.h"

#include "backend/cuda/callback.h"
#include "backend/cuda/graph.h"
#include "backend/cuda/named.h"
#include "backend/sched/estimate.h"
#include "backend/tenant/turns.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define BATCH_CALLS_MAX 64u
#define BATCH_NS        1000000u
/* So that there is still something to run when the first one's end is seen. */
#define BATCHES_IN_WINDOW 4
#define UNKNOWN_NS        100000u
#define DRAIN_NS          (300 * GP_NS_PER_MS) /* at most, before work of unknown length */
#define LOOK_NS           (100 * GP_NS_PER_MS) /* while waiting: is the client still there? */

/* Who is alone is not measured, but may not queue for ever: so many marks may lie ahead. */
#define MARK_NS        8000000u /* about so far apart */
#define MARK_CALLS_MAX 256u
#define MARK_NAP_NS    20000
#define MARKS_NS       (8 * GP_NS_PER_S)    /* so long they are waited for: one long kernel */
#define MARKS_VALUE_NS (100 * GP_NS_PER_MS) /* ... where it may be for a later call */

struct be_pace {
    struct be_pace_device *devices[BE_DRIVER_DEVICES_MAX];
};

enum turn {
    TURN_GO,
    TURN_GONE,  /* the client is */
    TURN_AGAIN, /* the memory is wanted meanwhile */
};

/* -- what a call is ---------------------------------------------------------------------------- */

enum call_class {
    CALL_UNKNOWN,
    CALL_OTHER, /* no work for the device */
    CALL_EDGE,  /* makes a stream wait, perhaps for the client: no batch reaches over it */
    CALL_WORK,
};

static enum call_class
class_by_name(const struct wire_call_info *info)
{
    static const char *const edges[] = {"cuLaunchHostFunc", "gpPullAsync", "gpGateClose", "gpPut",
                                        "cuStream",         "cuEvent"};

    if (info->name == NULL || info->stream_at == UINT16_MAX || !info->context)
        return CALL_OTHER;
    for (size_t i = 0; i < GP_ARRAY_LEN(edges); i++)
        if (strncmp(info->name, edges[i], strlen(edges[i])) == 0)
            return CALL_EDGE;
    return CALL_WORK;
}

static enum call_class
class_of(uint16_t id)
{
    static uint8_t classes[WIRE_CALL_COUNT]; /* the executor's: filled as they come */

    if (classes[id] == CALL_UNKNOWN)
        classes[id] = (uint8_t)class_by_name(&wire_calls[id]);
    return (enum call_class)classes[id];
}

/* Bytes that a copy or fill moves; false for what is no such call. */
static bool
moved_bytes(uint16_t id, const uint8_t *body, size_t len, uint64_t *bytes_p)
{
    struct be_swap_named named;

    *bytes_p = len;
    switch (id) {
    case WIRE_CALL_cuMemcpyHtoDAsync_v2: /* perhaps a part of it only */
    case WIRE_CALL_gpCopyIn3D:
    case WIRE_CALL_gpCopyKept:
        return true;
    default:
        if (!be_named(id, body, len, &named))
            return false;
        *bytes_p = named.ranges[0].bytes;
        return true;
    }
}

/* Kind and shape: a kernel with its grid, a graph, a copy of about so many bytes. */
static uint64_t
key_of(uint16_t id, const uint8_t *body, size_t len)
{
    const struct wire_call_info *info = &wire_calls[id];
    size_t fixed = gp_min_u64(len, info->fixed_bytes), behind = info->stream_at + 8u;
    uint64_t key = be_estimate_key(0, &id, sizeof(id)), bytes;

    if (moved_bytes(id, body, len, &bytes)) {
        uint8_t size = bytes < 2 ? 0 : (uint8_t)(64 - __builtin_clzll(bytes - 1));

        return be_estimate_key(key, &size, 1);
    }
    key = be_estimate_key(key, body, gp_min_u64(fixed, info->stream_at));
    return behind < fixed ? be_estimate_key(key, body + behind, fixed - behind) : key;
}

/* -- events ------------------------------------------------------------------------------------ */

/* The context is current; NULL: the driver has none. */
static CUevent
event_take(struct be_pace_device *d, struct be_context *context)
{
    CUevent event = NULL;

    pthread_mutex_lock(&d->lock);
    for (unsigned i = d->spare_count; i > 0 && event == NULL; i--) {
        if (d->spares[i - 1].context != context)
            continue;
        event = d->spares[i - 1].event;
        d->spares[i - 1] = d->spares[--d->spare_count];
    }
    pthread_mutex_unlock(&d->lock);
    if (event == NULL &&
        d->session->driver->table.cuEventCreate(&event, CU_EVENT_BLOCKING_SYNC) != CUDA_SUCCESS)
        return NULL;
    return event;
}

/* Nobody waits for its last record any more; a further one takes its place. */
void
be_pace_event_give(struct be_pace_device *d, struct be_context *context, CUevent event)
{
    bool kept = false;

    if (event == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    if (d->spare_count < BE_PACE_SPARES_MAX) {
        d->spares[d->spare_count++] = (struct be_pace_spare){context, event};
        kept = true;
    }
    pthread_mutex_unlock(&d->lock);
    if (!kept)
        (void)d->session->driver->table.cuEventDestroy_v2(event);
}

/* Its context goes. */
static void
spares_drop(struct be_pace_device *d, const struct be_context *of)
{
    unsigned kept = 0;

    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < d->spare_count; i++) {
        if (d->spares[i].context == of)
            (void)d->session->driver->table.cuEventDestroy_v2(d->spares[i].event);
        else
            d->spares[kept++] = d->spares[i];
    }
    d->spare_count = kept;
    pthread_mutex_unlock(&d->lock);
}

/* -- batches ----------------------------------------------------------------------------------- */

void
be_pace_batch_free(struct be_pace_device *d, struct be_pace_batch *batch)
{
    be_pace_event_give(d, batch->context, batch->start);
    be_pace_event_give(d, batch->context, batch->end);
    free(batch);
}

/* One that was counted as open is not. */
static void
open_less(struct be_pace_device *d, uint64_t under_way_ns)
{
    pthread_mutex_lock(&d->lock);
    d->open_count--;
    be_pace_less(d, under_way_ns);
    be_pace_drained(d);
    pthread_mutex_unlock(&d->lock);
}

/* A batch on stream that goes on, or a new one; NULL without memory or events. The caller has
 * counted it as open. */
static struct be_pace_batch *
batch_open(struct be_pace_device *d, struct be_context *context, CUstream stream)
{
    const struct be_driver_table *t = &context->driver->table;
    struct be_pace_batch *batch;
    int free_at = -1;

    for (int i = 0; i < BE_PACE_OPEN_MAX; i++) {
        if (d->open[i] == NULL)
            free_at = i;
        else if (d->open[i]->stream == stream && d->open[i]->context == context)
            return d->open[i];
    }
    batch = free_at >= 0 ? calloc(1, sizeof(*batch)) : NULL;
    if (batch == NULL)
        return NULL;
    batch->context = context;
    batch->stream = stream;
    batch->start = event_take(d, context);
    batch->end = event_take(d, context);
    if (batch->start == NULL || batch->end == NULL ||
        t->cuEventRecord(batch->start, stream) != CUDA_SUCCESS) {
        be_pace_batch_free(d, batch);
        return NULL;
    }
    d->open[free_at] = batch;
    return batch;
}

/* Executor; the batch's context is current. */
static void
batch_close(struct be_pace_device *d, struct be_pace_batch *batch)
{
    bool recorded;

    for (int i = 0; i < BE_PACE_OPEN_MAX; i++)
        if (d->open[i] == batch)
            d->open[i] = NULL;
    recorded =
        batch->context->driver->table.cuEventRecord(batch->end, batch->stream) == CUDA_SUCCESS;
    if (!recorded) { /* a broken context, or a stream that is gone: nothing to wait for */
        (void)batch->context->driver->table.cuEventDestroy_v2(batch->end);
        batch->end = NULL;
    }
    pthread_mutex_lock(&d->lock);
    d->open_count--;
    d->moved_ns = gp_now_ns();
    batch->stalled = be_pace_behind_stalled(d, batch);
    if (batch->stalled) {
        be_pace_less(d, batch->est_ns);
        be_pace_drained(d);
    } else {
        d->lively++;
    }
    batch->next = NULL;
    *d->tail = batch;
    d->tail = &batch->next;
    pthread_cond_signal(&d->came);
    pthread_mutex_unlock(&d->lock);
}

static void
batches_close(struct be_session *session, struct be_pace_device *d, const struct be_context *of,
              CUstream stream, bool all)
{
    struct be_context *current = session->current;

    for (int i = 0; i < BE_PACE_OPEN_MAX; i++) {
        struct be_pace_batch *batch = d->open[i];

        if (batch == NULL || (!all && (batch->context != of || batch->stream != stream)))
            continue;
        if (be_use_context(session, batch->context) == CUDA_SUCCESS)
            batch_close(d, batch);
    }
    if (current != NULL)
        (void)be_use_context(session, current);
}

void
be_pace_flush(struct be_session *session)
{
    if (session->pace == NULL)
        return;
    for (int i = 0; i < session->driver->device_count; i++)
        if (session->pace->devices[i] != NULL)
            batches_close(session, session->pace->devices[i], NULL, NULL, true);
}

/* -- the executor's way in ----------------------------------------------------------------------
 */

/* Wait for completions or for the turn; false if the client is gone. */
static bool
turn_wait(struct be_session *session, struct be_pace_device *d, enum be_fair_verdict verdict,
          uint32_t word, uint64_t until, uint64_t *beat_p)
{
    uint64_t now = gp_now_ns();
    struct timespec at;

    until = gp_min_u64(until, now + LOOK_NS);
    if (verdict == BE_FAIR_DRAIN) {
        at = gp_timespec(until);
        pthread_mutex_lock(&d->lock);
        if (d->head != NULL || d->in_hand != 0)
            (void)pthread_cond_timedwait(&d->went, &d->lock, &at);
        pthread_mutex_unlock(&d->lock);
    } else {
        be_turns_await(session->ledger, word, until);
    }
    be_count(session->row, BE_COUNT_TURN_WAIT_NS, gp_now_ns() - now);
    return be_client_look(session, beat_p);
}

/* With the turn asked for until it is there; FREE or GO, or WAIT: the client is gone, DRAIN: others
 * want the memory meanwhile. */
static enum be_fair_verdict
turn_take(struct be_session *session, struct be_pace_device *d, uint64_t est_ns)
{
    uint64_t until, window, began = gp_now_ns(), beat = began;
    bool first = true, others = false;
    enum be_fair_verdict verdict;

    for (;;) {
        uint32_t word = be_turns_word(session->ledger);

        pthread_mutex_lock(&d->lock);
        verdict =
            be_turns_enter(session->ledger, d->device, est_ns, d->under_way_ns, &until, &window);
        if (verdict == BE_FAIR_GO) {
            d->under_way_ns += est_ns;
            d->open_count++;
        }
        pthread_mutex_unlock(&d->lock);
        d->batch_ns = gp_min_u64(BATCH_NS, window / BATCHES_IN_WINDOW);
        if (verdict == BE_FAIR_GO || verdict == BE_FAIR_FREE) {
            if (others)
                be_count_turn(session->row, gp_now_ns() - began);
            return verdict;
        }
        others = others || verdict == BE_FAIR_WAIT;
        if (first) {
            /* Nothing of ours may wait for us: not what is open, nor who waits for answers. */
            batches_close(session, d, NULL, NULL, true);
            be_parked_hand_over(session);
            be_flush(session);
            be_count(session->row, BE_COUNT_TURN_WAITS, 1);
            first = false;
            continue;
        }
        if (be_stay_asked(session)) {
            be_turns_leave(session->ledger, d->device);
            return BE_FAIR_DRAIN;
        }
        if (!turn_wait(session, d, verdict, word, until, &beat)) {
            be_turns_leave(session->ledger, d->device);
            return BE_FAIR_WAIT;
        }
    }
}

/* -- alone --------------------------------------------------------------------------------------
 */

static void
mark_drop(struct be_pace_device *d, struct be_pace_mark *mark)
{
    be_pace_event_give(d, mark->context, mark->event);
    memset(mark, 0, sizeof(*mark));
}

/* Marks of a context, or of all, are of no use any more. */
static void
marks_drop(struct be_pace_device *d, const struct be_context *of)
{
    unsigned kept = 0;

    if (of == NULL || d->passed.context == of)
        mark_drop(d, &d->passed);
    for (unsigned i = 0; i < d->mark_count; i++) {
        if (of == NULL || d->marks[i].context == of)
            mark_drop(d, &d->marks[i]);
        else
            d->marks[kept++] = d->marks[i];
    }
    d->mark_count = kept;
}

/* The oldest has happened: how far apart are they? */
static void
mark_pass(struct be_pace_device *d)
{
    struct be_pace_mark mark = d->marks[0];
    float ms = 0;

    memmove(&d->marks[0], &d->marks[1], --d->mark_count * sizeof(d->marks[0]));
    if (d->passed.event != NULL && d->passed.context == mark.context &&
        d->session->driver->table.cuEventElapsedTime(&ms, d->passed.event, mark.event) ==
            CUDA_SUCCESS) {
        uint64_t ns = ms > 0 ? (uint64_t)(ms * 1e6f) + 1 : 1;

        /* Long ones count at once, short ones by and by. */
        if (ns > MARK_NS)
            d->mark_every = (unsigned)gp_max_u64(1, d->mark_every * (uint64_t)MARK_NS / ns);
        else if (ns < MARK_NS / 2)
            d->mark_every = (unsigned)gp_min_u64(MARK_CALLS_MAX, 2 * (uint64_t)d->mark_every);
    }
    mark_drop(d, &d->passed);
    d->passed = mark;
}

/* Until fewer lie ahead; false: the client is gone. A stream that waits for the client, or for who
 * knows what, is not waited for. */
static bool
marks_wait(struct be_pace_device *d)
{
    const struct be_driver_table *t = &d->session->driver->table;
    uint64_t most = d->awaits_values ? MARKS_VALUE_NS : MARKS_NS;
    struct timespec nap = {.tv_nsec = MARK_NAP_NS};
    uint64_t began = gp_now_ns(), beat = began;
    bool handed = false;

    while (d->mark_count != 0) {
        CUresult cr = t->cuEventQuery(d->marks[0].event);

        if (cr != CUDA_ERROR_NOT_READY)
            mark_pass(d);
        if (d->mark_count < BE_PACE_MARKS_MAX || be_callbacks_pending(d->session) ||
            !be_turns_alone(d->session->ledger, d->device))
            return true;
        if (cr != CUDA_ERROR_NOT_READY)
            continue;
        if (!handed) { /* nobody shall wait for us */
            handed = true;
            be_parked_hand_over(d->session);
            be_flush(d->session);
        }
        (void)nanosleep(&nap, NULL);
        if (!be_client_look(d->session, &beat))
            return false;
        if (gp_now_ns() - began > most) {
            /* Perhaps they wait for a call behind this one: they tell nothing. */
            marks_drop(d, NULL);
            d->mark_every = (unsigned)gp_min_u64(MARK_CALLS_MAX, 2 * (uint64_t)d->mark_every);
            return true;
        }
    }
    return true;
}

/* A mark is due behind work of a session that is alone; no more than BE_PACE_MARKS_MAX lie ahead.
 */
static bool
alone_enter(struct be_call *call, struct be_pace_device *d, CUstream stream)
{
    const struct be_driver_table *t = &d->session->driver->table;
    struct be_pace_mark *mark = &d->marks[d->mark_count];

    d->mark_calls = 0;
    if (d->mark_count == BE_PACE_MARKS_MAX) {
        if (!marks_wait(d))
            return false;
        if (d->mark_count == BE_PACE_MARKS_MAX)
            return true;
        mark = &d->marks[d->mark_count];
    }
    mark->event = event_take(d, call->context);
    if (mark->event == NULL)
        return true;
    mark->context = call->context;
    mark->stream = stream;
    d->mark_count++;
    if (t->cuEventRecord(mark->event, stream) != CUDA_SUCCESS) {
        d->mark_count--;
        mark_drop(d, mark);
    }
    while (d->mark_count > 1 && t->cuEventQuery(d->marks[0].event) == CUDA_SUCCESS)
        mark_pass(d);
    return true;
}

/* Others have come: what lies ahead is charged like a batch, from the first of its marks on. */
static void
marks_charge(struct be_session *session, struct be_pace_device *d)
{
    const struct be_driver_table *t = &session->driver->table;
    struct be_pace_batch *batch;
    struct be_pace_mark first;

    while (d->mark_count != 0 && t->cuEventQuery(d->marks[0].event) == CUDA_SUCCESS)
        mark_pass(d);
    if (d->mark_count == 0)
        return;
    first = d->marks[0];
    batch = calloc(1, sizeof(*batch));
    if (batch != NULL && be_use_context(session, first.context) == CUDA_SUCCESS &&
        (batch->end = event_take(d, first.context)) != NULL) {
        batch->context = first.context;
        batch->stream = d->marks[d->mark_count - 1].context == first.context
                            ? d->marks[d->mark_count - 1].stream
                            : first.stream;
        batch->start = first.event;
        batch->est_ns = d->mark_count * (uint64_t)MARK_NS;
        batch->calls = 2; /* nothing to learn from */
        d->marks[0].event = NULL;
        pthread_mutex_lock(&d->lock);
        d->open_count++;
        d->under_way_ns += batch->est_ns;
        pthread_mutex_unlock(&d->lock);
        batch_close(d, batch);
    } else {
        free(batch);
    }
    marks_drop(d, NULL);
}

/* Work of unknown length runs by itself: of several, nobody could say how long the turn gets. What
 * is under way may wait for a later call, so this ends. False: the client is gone. */
static bool
drain_wait(struct be_session *session, struct be_pace_device *d)
{
    uint64_t now = gp_now_ns(), until = now + DRAIN_NS, beat = now;
    bool busy, there = true;

    pthread_mutex_lock(&d->lock);
    busy = d->lively != 0 || d->open_count != 0;
    pthread_mutex_unlock(&d->lock);
    if (!busy)
        return true;
    batches_close(session, d, NULL, NULL, true);
    be_parked_hand_over(session);
    be_flush(session);
    while (busy && there && (now = gp_now_ns()) < until && !be_callbacks_pending(session)) {
        uint64_t look = gp_min_u64(until, now + LOOK_NS);
        struct timespec at = gp_timespec(look);

        pthread_mutex_lock(&d->lock);
        busy = d->lively != 0;
        if (busy)
            (void)pthread_cond_timedwait(&d->went, &d->lock, &at);
        pthread_mutex_unlock(&d->lock);
        there = be_client_look(session, &beat);
    }
    return there;
}

/* A graph with a node for the client's sake, or one that waits for a value. */
static bool
call_halts(struct be_session *session, uint16_t id, const uint8_t *body, size_t len)
{
    struct wire_cuGraphLaunch_args args;
    struct be_exec *exec;

    return id == WIRE_CALL_cuGraphLaunch && wire_get_cuGraphLaunch_args(body, len, &args) &&
           be_handle_get(session, WIRE_HANDLE_GRAPH_EXEC, args.exec, false, &exec) ==
               CUDA_SUCCESS &&
           exec->halts;
}

/* be_stay_enter() has let this launch in: all memory is reached. */
static void
quick_note(struct be_session *session, struct be_pace_device *d, const struct be_context *context)
{
    struct be_quick *q = &session->quick;

    q->context = context;
    q->only = d->only;
    q->own = d->own;
    q->calls = &d->mark_calls;
    q->most = d->mark_every;
}

static enum turn
work_enter(struct be_call *call, struct be_pace_device *d, CUstream stream, uint64_t key,
           struct be_pace_pass *pass)
{
    struct be_session *session = call->session;
    struct be_pace_batch *batch;
    enum be_fair_verdict verdict;
    uint64_t est_ns;
    bool measure;

    pthread_mutex_lock(&d->lock);
    est_ns = be_estimate_get(&d->estimates, key, UINT64_MAX, &measure);
    pthread_mutex_unlock(&d->lock);
    if (est_ns == UINT64_MAX) {
        if (!drain_wait(session, d))
            return TURN_GONE;
        if (be_use_context(session, call->context) != CUDA_SUCCESS)
            return TURN_GO;
        pthread_mutex_lock(&d->lock); /* perhaps it is known now */
        est_ns = be_estimate_get(&d->estimates, key, UNKNOWN_NS, &measure);
        pthread_mutex_unlock(&d->lock);
    }
    if (measure) /* it begins a batch of its own */
        batches_close(session, d, call->context, stream, false);
    verdict = turn_take(session, d, est_ns);
    if (verdict != BE_FAIR_GO)
        return verdict == BE_FAIR_FREE    ? TURN_GO
               : verdict == BE_FAIR_DRAIN ? TURN_AGAIN
                                          : TURN_GONE;
    batch = batch_open(d, call->context, stream);
    if (batch == NULL) { /* it cannot be measured: it is charged as it was thought */
        be_turns_charge(session->ledger, d->device, est_ns, est_ns);
        open_less(d, est_ns);
        return TURN_GO;
    }
    if (batch->calls != 0)
        open_less(d, 0); /* it is counted already */
    batch->est_ns += est_ns;
    batch->key = key;
    batch->calls++;
    batch->measure = measure;
    pass->device = d;
    pass->batch = batch;
    return TURN_GO;
}

static enum turn
turn_enter(struct be_call *call, const struct wire_record *record, const uint8_t *body, size_t len,
           struct be_pace_pass *pass)
{
    const struct wire_call_info *info = &wire_calls[record->call];
    struct be_session *session = call->session;
    enum call_class class = class_of(record->call);
    struct be_pace_device *d;
    CUstream stream;
    enum turn turn;
    uint64_t id;
    bool alone;

    memset(pass, 0, sizeof(*pass));
    if (class == CALL_OTHER || session->pace == NULL || call->context == NULL)
        return TURN_GO;
    d = session->pace->devices[call->context->device];
    if (d == NULL)
        return TURN_GO;
    if (record->call == WIRE_CALL_cuStreamBatchMemOp_v2)
        d->awaits_values = true;
    alone = atomic_load_explicit(d->only, memory_order_acquire) == d->own;
    if (alone && (class == CALL_EDGE || ++d->mark_calls < d->mark_every)) {
        if (record->call == WIRE_CALL_cuLaunchKernelEx)
            quick_note(session, d, call->context);
        return TURN_GO;
    }
    be_quick_forget(&session->quick);
    memcpy(&id, body + info->stream_at, sizeof(id));
    if (be_handle_get(session, WIRE_HANDLE_STREAM, id, true, &stream) != CUDA_SUCCESS)
        return TURN_GO; /* the call will say so */
    if (alone)
        return alone_enter(call, d, stream) ? TURN_GO : TURN_GONE;
    if (d->mark_count != 0) {
        marks_charge(session, d);
        if (be_use_context(session, call->context) != CUDA_SUCCESS)
            return TURN_GO;
    }
    if (class == CALL_EDGE) {
        batches_close(session, d, call->context, stream, false);
        return TURN_GO;
    }
    turn = work_enter(call, d, stream, key_of(record->call, body, len), pass);
    if (pass->batch != NULL && call_halts(session, record->call, body, len))
        pass->batch->halts = true;
    return turn;
}

enum be_stay_verdict
be_pace_enter(struct be_call *call, const struct wire_record *record, const uint8_t *body,
              size_t len, struct be_pace_pass *pass)
{
    enum be_stay_verdict verdict;
    enum turn turn = TURN_AGAIN;

    /* Who waits for its turn keeps nobody from the memory. */
    while (turn == TURN_AGAIN) {
        verdict = be_stay_enter(call->session, record->call, body, len);
        if (verdict != BE_STAY_GO)
            return verdict;
        turn = turn_enter(call, record, body, len, pass);
    }
    return turn == TURN_GO ? BE_STAY_GO : BE_STAY_GONE;
}

void
be_pace_cut(struct be_call *call, CUstream stream)
{
    struct be_pace *pace = call->session->pace;

    if (pace != NULL && pace->devices[call->context->device] != NULL)
        batches_close(call->session, pace->devices[call->context->device], call->context, stream,
                      false);
}

void
be_pace_leave(struct be_pace_pass *pass)
{
    struct be_pace_batch *batch = pass->batch;
    bool open = false;

    for (int i = 0; batch != NULL && i < BE_PACE_OPEN_MAX && !open; i++)
        open = pass->device->open[i] == batch; /* else be_pace_cut() has closed it */
    if (open && (batch->measure || batch->calls >= BATCH_CALLS_MAX ||
                 batch->est_ns >= pass->device->batch_ns))
        batch_close(pass->device, batch);
}

/* -- beside calls ------------------------------------------------------------------------------ */

/* The lock that begin takes and end gives back keeps what several threads give to the stream apart:
 * none is charged for another one's. */
void
be_pace_apart_begin(struct be_session *session, struct be_context *context, CUstream stream,
                    struct be_pace_apart *apart)
{
    struct be_pace_device *d =
        session->pace != NULL ? session->pace->devices[context->device] : NULL;

    *apart = (struct be_pace_apart){0};
    if (d == NULL || atomic_load_explicit(d->only, memory_order_acquire) == d->own)
        return;
    apart->start = event_take(d, context);
    apart->end = event_take(d, context);
    pthread_mutex_lock(&d->apart_lock);
    apart->device = d;
    if (apart->start == NULL || apart->end == NULL ||
        context->driver->table.cuEventRecord(apart->start, stream) != CUDA_SUCCESS) {
        be_pace_event_give(d, context, apart->start);
        be_pace_event_give(d, context, apart->end);
        apart->start = apart->end = NULL;
    }
}

void
be_pace_apart_end(struct be_pace_apart *apart, CUstream stream)
{
    struct be_pace_device *d = apart->device;

    if (d == NULL)
        return;
    if (apart->end != NULL)
        (void)d->session->driver->table.cuEventRecord(apart->end, stream);
    pthread_mutex_unlock(&d->apart_lock);
}

void
be_pace_apart_charge(struct be_pace_apart *apart, struct be_context *context)
{
    struct be_pace_device *d = apart->device;
    float ms = 0;

    if (d == NULL || apart->end == NULL)
        return;
    if (d->session->driver->table.cuEventElapsedTime(&ms, apart->start, apart->end) ==
            CUDA_SUCCESS &&
        ms > 0)
        be_turns_charge_beside(d->session->ledger, d->device, (uint64_t)(ms * 1e6f), false);
    be_pace_event_give(d, context, apart->start);
    be_pace_event_give(d, context, apart->end);
    *apart = (struct be_pace_apart){0};
}

/* -- life -------------------------------------------------------------------------------------- */

/* The threads are not there. */
static void
device_free(struct be_pace_device *d)
{
    pthread_cond_destroy(&d->came);
    pthread_cond_destroy(&d->went);
    pthread_cond_destroy(&d->looks);
    pthread_mutex_destroy(&d->lock);
    pthread_mutex_destroy(&d->charge_lock);
    pthread_mutex_destroy(&d->apart_lock);
    free(d);
}

static void
device_stop(struct be_pace_device *d)
{
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->came);
    pthread_cond_signal(&d->looks);
    pthread_mutex_unlock(&d->lock);
}

static struct be_pace_device *
device_create(struct be_session *session, unsigned device)
{
    struct be_pace_device *d = calloc(1, sizeof(*d));
    pthread_condattr_t attr;

    if (d == NULL)
        return NULL;
    d->session = session;
    d->device = device;
    d->only = be_turns_only(session->ledger, device, &d->own);
    d->tail = &d->head;
    d->mark_every = 1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->charge_lock, NULL);
    pthread_mutex_init(&d->apart_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->came, &attr);
    pthread_cond_init(&d->went, &attr);
    pthread_cond_init(&d->looks, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&d->thread, NULL, be_pace_main, d) != 0) {
        log_error("session: cannot make a thread: %m");
        device_free(d);
        return NULL;
    }
    if (pthread_create(&d->second, NULL, be_pace_second, d) != 0) {
        log_error("session: cannot make a thread: %m");
        device_stop(d);
        pthread_join(d->thread, NULL);
        device_free(d);
        return NULL;
    }
    return d;
}

CUresult
be_pace_attach(struct be_session *session, struct be_context *context)
{
    unsigned device = (unsigned)context->device;

    be_quick_forget(&session->quick);
    if (!be_ledger_governed(session->ledger))
        return CUDA_SUCCESS;
    if (session->pace == NULL)
        session->pace = calloc(1, sizeof(*session->pace));
    if (session->pace == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (session->pace->devices[device] != NULL)
        return CUDA_SUCCESS;
    session->pace->devices[device] = device_create(session, device);
    if (session->pace->devices[device] == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    be_turns_attach(session->ledger, device);
    return CUDA_SUCCESS;
}

void
be_pace_forget(struct be_session *session, struct be_context *context)
{
    struct be_pace_device *d =
        session->pace != NULL ? session->pace->devices[context->device] : NULL;

    be_quick_forget(&session->quick);
    if (d == NULL)
        return;
    batches_close(session, d, NULL, NULL, true);
    marks_drop(d, context);
    pthread_mutex_lock(&d->lock);
    while (d->head != NULL || d->in_hand != 0)
        pthread_cond_wait(&d->went, &d->lock);
    pthread_mutex_unlock(&d->lock);
    pthread_mutex_lock(&d->charge_lock);
    if (d->base_context == context)
        be_pace_base_drop(d);
    pthread_mutex_unlock(&d->charge_lock);
    /* Those that could not be closed because their context could not be made current. */
    for (int i = 0; i < BE_PACE_OPEN_MAX; i++) {
        struct be_pace_batch *batch = d->open[i];

        if (batch == NULL || batch->context != context)
            continue;
        d->open[i] = NULL;
        open_less(d, batch->est_ns);
        be_pace_batch_free(d, batch);
    }
    spares_drop(d, context);
}

/* Its handle may soon be another one's. What it has under way stays. */
static void
stream_forget(struct be_session *session, struct be_pace_device *d, CUstream stream)
{
    CUstream gone = NULL;

    for (int i = 0; i < BE_PACE_OPEN_MAX; i++)
        if (d->open[i] != NULL && d->open[i]->stream == stream)
            batches_close(session, d, d->open[i]->context, stream, false);
    for (unsigned i = 0; i < d->mark_count; i++)
        if (d->marks[i].stream == stream)
            d->marks[i].stream = CU_STREAM_LEGACY;
    pthread_mutex_lock(&d->lock);
    for (struct be_pace_batch *b = d->head; b != NULL; b = b->next) {
        if (b->stream != stream)
            continue;
        if (gone == NULL)
            gone = (CUstream)b;
        b->stream = gone;
    }
    pthread_mutex_unlock(&d->lock);
}

void
be_pace_forget_stream(struct be_session *session, CUstream stream)
{
    for (int i = 0; session->pace != NULL && i < session->driver->device_count; i++)
        if (session->pace->devices[i] != NULL)
            stream_forget(session, session->pace->devices[i], stream);
}

void
be_pace_destroy(struct be_session *session)
{
    for (int i = 0; session->pace != NULL && i < session->driver->device_count; i++) {
        struct be_pace_device *d = session->pace->devices[i];

        if (d == NULL)
            continue;
        be_turns_detach(session->ledger, d->device);
        device_stop(d);
        pthread_join(d->thread, NULL);
        pthread_join(d->second, NULL);
        device_free(d);
    }
    free(session->pace);
    session->pace = NULL;
}
