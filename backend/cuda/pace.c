/* backend/cuda/pace.c */
#include "backend/cuda/pace.h"

#include "backend/cuda/callback.h"
#include "backend/cuda/named.h"
#include "backend/sched/estimate.h"
#include "backend/tenant/turns.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define OPEN_MAX        32
#define SPARE_MAX       16
#define BATCH_CALLS_MAX 64u
#define BATCH_NS        1000000u
/* So that there is still something to run when the first one's end is seen. */
#define BATCHES_IN_WINDOW 4
#define UNKNOWN_NS        100000u
#define DRAIN_NS          (300 * GP_NS_PER_MS) /* at most, before work of unknown length */
#define LOOK_NS           (100 * GP_NS_PER_MS) /* while waiting: is the client still there? */
#define BASE_MS           8000.0f              /* times are counted from an event not older */

/* Who is alone is not measured, but may not queue for ever: so many marks may lie ahead. */
#define MARKS_MAX      8
#define MARK_NS        8000000u /* about so far apart */
#define MARK_CALLS_MAX 256u
#define MARK_NAP_NS    20000

/* Calls on one stream, one after the other. */
struct be_pace_batch {
    struct be_context *context;
    CUstream stream;
    CUevent start, end;
    uint64_t est_ns, key; /* key: of the only call, 0: of several */
    unsigned calls;
    bool measure;
    struct be_pace_batch *next;
};

/* An event behind work that nobody counted. */
struct mark {
    struct be_context *context;
    CUstream stream;
    CUevent event;
};

/* One that nobody waits for any more: making one costs more than recording it. */
struct spare {
    struct be_context *context;
    CUevent event;
};

struct be_pace_device {
    /* Set once. */
    struct be_session *session;
    unsigned device;
    const atomic_uint *only; /* be_turns_only() */
    unsigned own;
    pthread_t thread;

    /* The executor's. */
    struct be_pace_batch *open[OPEN_MAX];
    struct mark marks[MARKS_MAX]; /* oldest first */
    struct mark passed;           /* the last one that happened */
    unsigned mark_count, mark_calls, mark_every;
    uint64_t batch_ns; /* as long as a batch gets, about */

    pthread_mutex_t lock; /* rank 36 */
    pthread_cond_t came, went;
    /* Guarded by lock. */
    struct be_pace_batch *head, **tail; /* closed ones */
    bool in_hand, stop;
    unsigned open_count; /* open ones, and a call that was let in and has none yet */
    uint64_t under_way_ns;
    struct be_estimates estimates;
    struct spare spares[SPARE_MAX];
    unsigned spare_count;

    /* The thread's. */
    struct be_context *base_context;
    CUevent base;
    float covered_ms; /* since base: charged up to here */
};

struct be_pace {
    struct be_pace_device *devices[BE_DRIVER_DEVICES_MAX];
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
    static const char *const edges[] = {"cuLaunchHostFunc", "gpPullAsync", "cuStream", "cuEvent"};

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
static void
event_give(struct be_pace_device *d, struct be_context *context, CUevent event)
{
    bool kept = false;

    if (event == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    if (d->spare_count < SPARE_MAX) {
        d->spares[d->spare_count++] = (struct spare){context, event};
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

static void
batch_free(struct be_pace_device *d, struct be_pace_batch *batch)
{
    event_give(d, batch->context, batch->start);
    event_give(d, batch->context, batch->end);
    free(batch);
}

/* One that was counted as open is not. */
static void
open_less(struct be_pace_device *d, uint64_t under_way_ns)
{
    pthread_mutex_lock(&d->lock);
    d->open_count--;
    d->under_way_ns -= gp_min_u64(under_way_ns, d->under_way_ns);
    if (d->head == NULL && !d->in_hand && d->open_count == 0)
        be_turns_drained(d->session->ledger, d->device);
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

    for (int i = 0; i < OPEN_MAX; i++) {
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
        batch_free(d, batch);
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

    for (int i = 0; i < OPEN_MAX; i++)
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

    for (int i = 0; i < OPEN_MAX; i++) {
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

/* -- the thread that sees them end -------------------------------------------------------------
 */

static void
base_drop(struct be_pace_device *d)
{
    if (d->base != NULL)
        (void)d->session->driver->table.cuEventDestroy_v2(d->base);
    d->base = NULL;
    d->base_context = NULL;
}

/* Until the batch is done; a tenant may be bounded in how long its work runs. */
static CUresult
batch_wait(struct be_pace_device *d, const struct be_pace_batch *batch)
{
    const struct be_driver_table *t = &d->session->driver->table;
    uint64_t limit = be_ledger_max_kernel_ns(d->session->ledger), began = 0;
    struct timespec nap = {.tv_nsec = 20000};
    CUresult cr;

    if (limit == 0) {
        /* Who looks whether the turn is stuck shall know that the device is at it. */
        if (t->cuEventQuery(batch->end) == CUDA_ERROR_NOT_READY &&
            (batch->start == NULL || t->cuEventSynchronize(batch->start) == CUDA_SUCCESS))
            be_turns_begun(d->session->ledger, d->device);
        return t->cuEventSynchronize(batch->end);
    }
    while ((cr = t->cuEventQuery(batch->end)) == CUDA_ERROR_NOT_READY) {
        /* Not before it has begun: its stream may wait for something else. */
        if (began == 0 && t->cuEventQuery(batch->start) == CUDA_SUCCESS) {
            began = gp_now_ns();
            be_turns_begun(d->session->ledger, d->device);
        }
        if (began != 0 && gp_now_ns() - began > limit) {
            be_client_end(d->session, CUDA_ERROR_LAUNCH_TIMEOUT,
                          "a kernel ran for longer than the tenant's max-kernel-time");
            return t->cuEventSynchronize(batch->end); /* or the process's end */
        }
        (void)nanosleep(&nap, NULL);
        if (nap.tv_nsec < 1000000)
            nap.tv_nsec *= 2;
    }
    return cr;
}

/* Milliseconds of the batch that no earlier one was charged for, and its own length. */
static float
batch_busy(struct be_pace_device *d, struct be_pace_batch *batch, float *length_p)
{
    const struct be_driver_table *t = &d->session->driver->table;
    float start = 0, end = 0, busy;

    if (d->base != NULL &&
        (d->base_context != batch->context || d->covered_ms > BASE_MS ||
         t->cuEventElapsedTime(&start, d->base, batch->start) != CUDA_SUCCESS || start < 0))
        base_drop(d);
    if (d->base == NULL) {
        d->base = batch->start;
        d->base_context = batch->context;
        d->covered_ms = 0;
        batch->start = NULL;
        start = 0;
    }
    if (t->cuEventElapsedTime(&end, d->base, batch->end) != CUDA_SUCCESS || end < start)
        end = start;
    *length_p = end - start;
    busy = end - (start > d->covered_ms ? start : d->covered_ms);
    if (end > d->covered_ms)
        d->covered_ms = end;
    return busy > 0 ? busy : 0;
}

static void
batch_account(struct be_pace_device *d, struct be_pace_batch *batch)
{
    const struct be_driver_table *t = &d->session->driver->table;
    float busy_ms = 0, length_ms = 0;
    bool known = false;

    if (batch->end != NULL && t->cuCtxSetCurrent(batch->context->handle) == CUDA_SUCCESS &&
        batch_wait(d, batch) == CUDA_SUCCESS) {
        busy_ms = batch_busy(d, batch, &length_ms);
        known = true;
    }
    be_turns_charge(d->session->ledger, d->device, batch->est_ns, (uint64_t)(busy_ms * 1e6f));
    pthread_mutex_lock(&d->lock);
    if (known && batch->calls == 1)
        be_estimate_learn(&d->estimates, batch->key, (uint64_t)(length_ms * 1e6f));
    d->under_way_ns -= gp_min_u64(batch->est_ns, d->under_way_ns);
    pthread_mutex_unlock(&d->lock);
    batch_free(d, batch);
}

static void *
pace_main(void *arg)
{
    struct be_pace_device *d = arg;
    struct be_pace_batch *batch;

    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (d->head == NULL && !d->stop)
            pthread_cond_wait(&d->came, &d->lock);
        batch = d->head;
        if (batch == NULL)
            break;
        d->head = batch->next;
        if (d->head == NULL)
            d->tail = &d->head;
        d->in_hand = true;
        pthread_mutex_unlock(&d->lock);
        batch_account(d, batch);
        pthread_mutex_lock(&d->lock);
        d->in_hand = false;
        if (d->head == NULL && d->open_count == 0) {
            d->under_way_ns = 0;
            be_turns_drained(d->session->ledger, d->device);
        }
        pthread_cond_broadcast(&d->went);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
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
        at = (struct timespec){.tv_sec = (time_t)(until / GP_NS_PER_S),
                               .tv_nsec = (long)(until % GP_NS_PER_S)};
        pthread_mutex_lock(&d->lock);
        if (d->head != NULL || d->in_hand)
            (void)pthread_cond_timedwait(&d->went, &d->lock, &at);
        pthread_mutex_unlock(&d->lock);
    } else {
        be_turns_await(session->ledger, word, until);
    }
    be_count(session->row, BE_COUNT_TURN_WAIT_NS, gp_now_ns() - now);
    return be_client_look(session, beat_p);
}

/* With the turn asked for until it is there; FREE or GO, or WAIT: the client is gone. */
static enum be_fair_verdict
turn_take(struct be_session *session, struct be_pace_device *d, uint64_t est_ns)
{
    uint64_t until, window, beat = gp_now_ns();
    enum be_fair_verdict verdict;
    bool first = true;

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
        if (verdict == BE_FAIR_GO || verdict == BE_FAIR_FREE)
            return verdict;
        if (first) {
            /* Nothing of ours may wait for us: not what is open, nor who waits for answers. */
            batches_close(session, d, NULL, NULL, true);
            be_parked_hand_over(session);
            be_flush(session);
            be_count(session->row, BE_COUNT_TURN_WAITS, 1);
            first = false;
            continue;
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
mark_drop(struct be_pace_device *d, struct mark *mark)
{
    event_give(d, mark->context, mark->event);
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
    struct mark mark = d->marks[0];
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
    struct timespec nap = {.tv_nsec = MARK_NAP_NS};
    uint64_t began = gp_now_ns(), beat = began;
    bool handed = false;

    while (d->mark_count != 0) {
        CUresult cr = t->cuEventQuery(d->marks[0].event);

        if (cr != CUDA_ERROR_NOT_READY)
            mark_pass(d);
        if (d->mark_count < MARKS_MAX || be_callbacks_pending(d->session) ||
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
        if (gp_now_ns() - began > 8 * GP_NS_PER_S) /* one long kernel, or a wait for a later call */
            return true;
    }
    return true;
}

/* A mark is due behind work of a session that is alone; no more than MARKS_MAX lie ahead. */
static bool
alone_enter(struct be_call *call, struct be_pace_device *d, CUstream stream)
{
    const struct be_driver_table *t = &d->session->driver->table;
    struct mark *mark = &d->marks[d->mark_count];

    d->mark_calls = 0;
    if (d->mark_count == MARKS_MAX) {
        if (!marks_wait(d))
            return false;
        if (d->mark_count == MARKS_MAX)
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
    struct mark first;

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
    busy = d->head != NULL || d->in_hand || d->open_count != 0;
    pthread_mutex_unlock(&d->lock);
    if (!busy)
        return true;
    batches_close(session, d, NULL, NULL, true);
    be_parked_hand_over(session);
    be_flush(session);
    while (busy && there && (now = gp_now_ns()) < until && !be_callbacks_pending(session)) {
        uint64_t look = gp_min_u64(until, now + LOOK_NS);
        struct timespec at = {.tv_sec = (time_t)(look / GP_NS_PER_S),
                              .tv_nsec = (long)(look % GP_NS_PER_S)};

        pthread_mutex_lock(&d->lock);
        busy = d->head != NULL || d->in_hand;
        if (busy)
            (void)pthread_cond_timedwait(&d->went, &d->lock, &at);
        pthread_mutex_unlock(&d->lock);
        there = be_client_look(session, &beat);
    }
    return there;
}

static bool
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
            return false;
        if (be_use_context(session, call->context) != CUDA_SUCCESS)
            return true;
        pthread_mutex_lock(&d->lock); /* perhaps it is known now */
        est_ns = be_estimate_get(&d->estimates, key, UNKNOWN_NS, &measure);
        pthread_mutex_unlock(&d->lock);
    }
    if (measure) /* it begins a batch of its own */
        batches_close(session, d, call->context, stream, false);
    verdict = turn_take(session, d, est_ns);
    if (verdict != BE_FAIR_GO)
        return verdict == BE_FAIR_FREE;
    batch = batch_open(d, call->context, stream);
    if (batch == NULL) { /* it cannot be measured: it is charged as it was thought */
        be_turns_charge(session->ledger, d->device, est_ns, est_ns);
        open_less(d, est_ns);
        return true;
    }
    if (batch->calls != 0)
        open_less(d, 0); /* it is counted already */
    batch->est_ns += est_ns;
    batch->key = key;
    batch->calls++;
    batch->measure = measure;
    pass->device = d;
    pass->batch = batch;
    return true;
}

bool
be_pace_enter(struct be_call *call, const struct wire_record *record, const uint8_t *body,
              size_t len, struct be_pace_pass *pass)
{
    const struct wire_call_info *info = &wire_calls[record->call];
    struct be_session *session = call->session;
    enum call_class class = class_of(record->call);
    struct be_pace_device *d;
    CUstream stream;
    uint64_t id;
    bool alone;

    memset(pass, 0, sizeof(*pass));
    if (class == CALL_OTHER || session->pace == NULL || call->context == NULL)
        return true;
    d = session->pace->devices[call->context->device];
    if (d == NULL)
        return true;
    alone = atomic_load_explicit(d->only, memory_order_acquire) == d->own;
    if (alone && (class == CALL_EDGE || ++d->mark_calls < d->mark_every))
        return true;
    memcpy(&id, body + info->stream_at, sizeof(id));
    if (be_handle_get(session, WIRE_HANDLE_STREAM, id, true, &stream) != CUDA_SUCCESS)
        return true; /* the call will say so */
    if (alone)
        return alone_enter(call, d, stream);
    if (d->mark_count != 0) {
        marks_charge(session, d);
        if (be_use_context(session, call->context) != CUDA_SUCCESS)
            return true;
    }
    if (class == CALL_EDGE) {
        batches_close(session, d, call->context, stream, false);
        return true;
    }
    return work_enter(call, d, stream, key_of(record->call, body, len), pass);
}

void
be_pace_leave(struct be_pace_pass *pass)
{
    struct be_pace_batch *batch = pass->batch;

    if (batch != NULL && (batch->measure || batch->calls >= BATCH_CALLS_MAX ||
                          batch->est_ns >= pass->device->batch_ns))
        batch_close(pass->device, batch);
}

/* -- life -------------------------------------------------------------------------------------- */

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
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->came, &attr);
    pthread_cond_init(&d->went, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&d->thread, NULL, pace_main, d) != 0) {
        log_error("session: cannot make a thread: %m");
        pthread_cond_destroy(&d->came);
        pthread_cond_destroy(&d->went);
        pthread_mutex_destroy(&d->lock);
        free(d);
        return NULL;
    }
    return d;
}

CUresult
be_pace_attach(struct be_session *session, struct be_context *context)
{
    unsigned device = (unsigned)context->device;

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

    if (d == NULL)
        return;
    batches_close(session, d, NULL, NULL, true);
    marks_drop(d, context);
    pthread_mutex_lock(&d->lock);
    while (d->head != NULL || d->in_hand)
        pthread_cond_wait(&d->went, &d->lock);
    if (d->base_context == context)
        base_drop(d);
    pthread_mutex_unlock(&d->lock);
    /* Those that could not be closed because their context could not be made current. */
    for (int i = 0; i < OPEN_MAX; i++) {
        struct be_pace_batch *batch = d->open[i];

        if (batch == NULL || batch->context != context)
            continue;
        d->open[i] = NULL;
        open_less(d, batch->est_ns);
        batch_free(d, batch);
    }
    spares_drop(d, context);
}

void
be_pace_destroy(struct be_session *session)
{
    for (int i = 0; session->pace != NULL && i < session->driver->device_count; i++) {
        struct be_pace_device *d = session->pace->devices[i];

        if (d == NULL)
            continue;
        be_turns_detach(session->ledger, d->device);
        pthread_mutex_lock(&d->lock);
        d->stop = true;
        pthread_cond_signal(&d->came);
        pthread_mutex_unlock(&d->lock);
        pthread_join(d->thread, NULL);
        pthread_cond_destroy(&d->came);
        pthread_cond_destroy(&d->went);
        pthread_mutex_destroy(&d->lock);
        free(d);
    }
    free(session->pace);
    session->pace = NULL;
}
