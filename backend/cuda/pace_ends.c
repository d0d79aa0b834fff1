/* backend/cuda/pace_ends.c -- the thread that sees batches end, and what it means if they do not */
#include "backend/cuda/pace_priv.h"

#include "backend/sched/fair.h"
#include "backend/tenant/turns.h"
#include "protocol/base/clock.h"
#include "protocol/base/util.h"

#define BASE_MS 8000.0f /* times are counted from an event not older */
/* While nothing has begun, or a graph may wait for the client, the thread looks so often. */
#define NAP_LEAST_NS 20000u
#define NAP_MOST_NS  1000000u
#define NAP_LONG_NS  10000000u /* ... once it is known that nothing will soon */

/* -- what waits for something else than the device ----------------------------------------------
 */

static bool
same_stream(const struct be_pace_batch *a, const struct be_pace_batch *b)
{
    return a->stream == b->stream && a->context == b->context;
}

/* The lock is held, as in the next ones. What is closed behind a stalled one is stalled; but no
 * more than a window of it before that is looked at again, for it may begin at any time. */
bool
be_pace_behind_stalled(struct be_pace_device *d, const struct be_pace_batch *batch)
{
    for (const struct be_pace_batch *b = d->head; b != NULL; b = b->next) {
        if (!b->stalled || !same_stream(b, batch))
            continue;
        d->behind_ns += batch->est_ns;
        return d->behind_ns <= BE_FAIR_WINDOW_NS;
    }
    return false;
}

void
be_pace_less(struct be_pace_device *d, uint64_t ns)
{
    d->under_way_ns -= gp_min_u64(ns, d->under_way_ns);
}

/* Nothing of it is at work: nobody knows when it will be. */
static void
all_stall(struct be_pace_device *d)
{
    for (struct be_pace_batch *b = d->head; b != NULL; b = b->next) {
        if (!b->stalled)
            be_pace_less(d, b->est_ns);
        b->stalled = true;
    }
    d->lively = 0;
    d->behind_ns = 0;
    pthread_cond_broadcast(&d->went);
}

/* The stream of this one goes on. */
static void
stream_revive(struct be_pace_device *d, const struct be_pace_batch *of)
{
    for (struct be_pace_batch *b = d->head; b != NULL; b = b->next) {
        if (!b->stalled || !same_stream(b, of))
            continue;
        b->stalled = false;
        d->lively++;
        d->under_way_ns += b->est_ns;
    }
}

void
be_pace_drained(struct be_pace_device *d)
{
    if (d->lively == 0 && d->open_count == 0)
        be_turns_drained(d->session->ledger, d->device);
}

/* -- the thread that sees them end -------------------------------------------------------------
 */

void
be_pace_base_drop(struct be_pace_device *d)
{
    if (d->base != NULL)
        (void)d->session->driver->table.cuEventDestroy_v2(d->base);
    d->base = NULL;
    d->base_context = NULL;
}

static void
overdue_end(struct be_pace_device *d)
{
    bool ended;

    pthread_mutex_lock(&d->lock);
    ended = d->ended;
    d->ended = true;
    pthread_mutex_unlock(&d->lock);
    if (!ended)
        be_client_end(d->session, CUDA_ERROR_LAUNCH_TIMEOUT,
                      "a kernel ran for longer than the tenant's max-kernel-time");
}

/* Until the batch, which is at work, is done; a tenant may be bounded in how long its work runs. */
static CUresult
batch_wait(struct be_pace_device *d, const struct be_pace_batch *batch)
{
    const struct be_driver_table *t = &d->session->driver->table;
    uint64_t limit = be_ledger_max_kernel_ns(d->session->ledger);
    struct timespec nap = {.tv_nsec = NAP_LEAST_NS};
    CUresult cr;

    /* Who looks whether the turn is stuck shall know that the device is at it. */
    if (t->cuEventQuery(batch->end) == CUDA_ERROR_NOT_READY)
        be_turns_begun(d->session->ledger, d->device);
    while (limit != 0 && (cr = t->cuEventQuery(batch->end)) == CUDA_ERROR_NOT_READY) {
        if (gp_now_ns() - batch->began_ns > limit) {
            overdue_end(d);
            break;
        }
        (void)nanosleep(&nap, NULL);
        if (nap.tv_nsec < NAP_MOST_NS)
            nap.tv_nsec *= 2;
    }
    return t->cuEventSynchronize(batch->end); /* or the process's end */
}

/* With the charge lock held, as below. Milliseconds from the base to the batch's start; false: that
 * cannot be told from this base. */
static bool
start_of(struct be_pace_device *d, const struct be_pace_batch *batch, float *start_p)
{
    *start_p = 0;
    return batch->is_base || (d->base != NULL && d->base_context == batch->context &&
                              d->session->driver->table.cuEventElapsedTime(
                                  start_p, d->base, batch->start) == CUDA_SUCCESS &&
                              *start_p >= 0);
}

static void
base_set(struct be_pace_device *d, struct be_pace_batch *batch)
{
    be_pace_base_drop(d);
    d->base = batch->start;
    d->base_context = batch->context;
    d->covered_ms = 0;
    batch->start = NULL;
    batch->is_base = true;
}

/* Milliseconds of the batch that no earlier one was charged for, and its own length. */
static float
batch_busy(struct be_pace_device *d, struct be_pace_batch *batch, float *length_p)
{
    const struct be_driver_table *t = &d->session->driver->table;
    float start, end = 0, busy;

    if (!batch->is_base && (d->covered_ms > BASE_MS || !start_of(d, batch, &start)))
        base_set(d, batch);
    (void)start_of(d, batch, &start);
    if (t->cuEventElapsedTime(&end, d->base, batch->end) != CUDA_SUCCESS || end < start)
        end = start;
    *length_p = end - start;
    busy = end - (start > d->covered_ms ? start : d->covered_ms);
    if (end > d->covered_ms)
        d->covered_ms = end;
    return busy > 0 ? busy : 0;
}

/* The same of one that was over while another one, longest, was at work still, and of what that one
 * had up to this one's end. No other base is taken meanwhile. */
static float
batch_busy_beside(struct be_pace_device *d, struct be_pace_batch *longest,
                  struct be_pace_batch *batch, float *length_p)
{
    const struct be_driver_table *t = &d->session->driver->table;
    float first, start, end = 0, from;

    *length_p = 0;
    if (!start_of(d, longest, &first)) {
        base_set(d, longest);
        first = 0;
    }
    if (batch->context != longest->context) {
        (void)t->cuEventElapsedTime(length_p, batch->start, batch->end);
        return *length_p;
    }
    if (t->cuEventElapsedTime(&end, d->base, batch->end) != CUDA_SUCCESS)
        return 0;
    if (!start_of(d, batch, &start)) /* it began before the longest */
        start = 0;
    *length_p = end > start ? end - start : 0;
    from = first < start ? first : start;
    if (d->covered_ms > from)
        from = d->covered_ms;
    if (end <= from)
        return 0;
    d->covered_ms = end;
    return end - from;
}

/* longest: is at work still, as far as is known, and this one is over; else NULL. */
static void
batch_account(struct be_pace_device *d, struct be_pace_batch *batch, struct be_pace_batch *longest)
{
    const struct be_driver_table *t = &d->session->driver->table;
    float busy_ms = 0, length_ms = 0;
    bool known = false;

    if (batch->end != NULL && t->cuCtxSetCurrent(batch->context->handle) == CUDA_SUCCESS &&
        batch_wait(d, batch) == CUDA_SUCCESS) {
        pthread_mutex_lock(&d->charge_lock);
        busy_ms = longest != NULL ? batch_busy_beside(d, longest, batch, &length_ms)
                                  : batch_busy(d, batch, &length_ms);
        pthread_mutex_unlock(&d->charge_lock);
        known = true;
    }
    if (longest != NULL)
        be_turns_charge_beside(d->session->ledger, d->device, (uint64_t)(busy_ms * 1e6f), true);
    else
        be_turns_charge(d->session->ledger, d->device, batch->est_ns, (uint64_t)(busy_ms * 1e6f));
    pthread_mutex_lock(&d->lock);
    if (known && batch->calls == 1)
        be_estimate_learn(&d->estimates, batch->key, (uint64_t)(length_ms * 1e6f));
    if (!batch->stalled) {
        be_pace_less(d, batch->est_ns);
        d->lively--;
    }
    while (d->beside == batch)
        pthread_cond_wait(&d->went, &d->lock);
    pthread_mutex_unlock(&d->lock);
    be_pace_batch_free(d, batch);
}

enum progress {
    NOT_BEGUN,
    AT_WORK,
    OVER, /* or nobody can tell any more */
};

static enum progress
batch_look(struct be_pace_device *d, struct be_pace_batch *batch)
{
    const struct be_driver_table *t = &d->session->driver->table;

    if (batch->end == NULL || t->cuEventQuery(batch->end) != CUDA_ERROR_NOT_READY)
        return OVER;
    if (batch->began_ns == 0 && t->cuEventQuery(batch->start) != CUDA_ERROR_NOT_READY)
        batch->began_ns = gp_now_ns();
    return batch->began_ns != 0 ? AT_WORK : NOT_BEGUN;
}

/* Streams whose first batch was looked at; of more than these, each batch is. */
struct streams {
    unsigned count;
    const struct be_pace_batch *of[BE_PACE_OPEN_MAX];
};

static bool
streams_have(struct streams *streams, const struct be_pace_batch *batch)
{
    for (unsigned i = 0; i < streams->count; i++)
        if (same_stream(streams->of[i], batch))
            return true;
    if (streams->count < BE_PACE_OPEN_MAX)
        streams->of[streams->count++] = batch;
    return false;
}

/* With the lock held: take out one that is over, or else the first that the device alone can end;
 * NULL: there is none, and what there is holds nobody else's batches up. *busy_ns_p: until then a
 * graph that may wait for the client can be thought to be at work. beside: only one that is over,
 * while this one is waited for; else NULL. */
static struct be_pace_batch *
batch_take(struct be_pace_device *d, const struct be_pace_batch *beside, uint64_t *busy_ns_p)
{
    struct be_pace_batch **found = NULL, *batch;
    struct streams streams = {0};
    enum progress progress = NOT_BEGUN;
    bool begun;

    *busy_ns_p = 0;
    if (beside != NULL)
        (void)streams_have(&streams, beside);
    for (struct be_pace_batch **at = &d->head; *at != NULL && progress != OVER; at = &(*at)->next) {
        batch = *at;
        if (streams_have(&streams, batch))
            continue;
        begun = batch->began_ns != 0;
        progress = batch_look(d, batch);
        if (batch->stalled && (progress == OVER || (progress == AT_WORK && !begun)))
            stream_revive(d, batch);
        if (progress == OVER ||
            (progress == AT_WORK && !batch->halts && found == NULL && beside == NULL))
            found = at;
        else if (progress == AT_WORK && batch->halts)
            *busy_ns_p = gp_max_u64(
                *busy_ns_p, batch->began_ns + gp_min_u64(2 * batch->est_ns, BE_FAIR_STUCK_NS));
    }
    if (found == NULL)
        return NULL;
    batch = *found;
    *found = batch->next;
    if (*found == NULL)
        d->tail = found;
    return batch;
}

/* With the lock held: a graph that may wait for the client has run for too long. */
static bool
any_overdue(struct be_pace_device *d)
{
    uint64_t limit = be_ledger_max_kernel_ns(d->session->ledger), now = gp_now_ns();

    for (const struct be_pace_batch *b = d->head; limit != 0 && b != NULL; b = b->next)
        if (b->halts && b->began_ns != 0 && now - b->began_ns > limit)
            return true;
    return false;
}

/* With the lock held, which is given up meanwhile: nothing can be waited for. Who waits for the
 * turn shall not wait for what waits for something else; how long to sleep the next time. */
static uint64_t
doze(struct be_pace_device *d, uint64_t busy_ns, uint64_t nap_ns)
{
    uint64_t now = gp_now_ns(), since = gp_max_u64(d->moved_ns, busy_ns), until;
    bool holds = d->lively != 0;
    struct timespec at;

    if (any_overdue(d)) {
        pthread_mutex_unlock(&d->lock);
        overdue_end(d);
        pthread_mutex_lock(&d->lock);
        nap_ns = NAP_LONG_NS;
    }
    if (holds && d->open_count == 0 && now > since && now - since >= BE_FAIR_STALL_HIGH_NS) {
        holds = be_turns_stalled(d->session->ledger, d->device, since);
        if (!holds && now - since >= BE_FAIR_STALL_NS)
            all_stall(d);
        else if (!holds)
            pthread_cond_broadcast(&d->went);
    }
    until = now + nap_ns;
    at = gp_timespec(until);
    if (!d->stop)
        (void)pthread_cond_timedwait(&d->came, &d->lock, &at);
    return gp_min_u64(2 * nap_ns, holds ? NAP_MOST_NS : NAP_LONG_NS);
}

/* With the lock held, which is given up meanwhile. */
static void
batch_over(struct be_pace_device *d, struct be_pace_batch *batch, struct be_pace_batch *longest)
{
    d->in_hand++;
    if (longest != NULL)
        d->beside = longest;
    pthread_mutex_unlock(&d->lock);
    batch_account(d, batch, longest);
    pthread_mutex_lock(&d->lock);
    d->in_hand--;
    if (longest != NULL)
        d->beside = NULL;
    d->moved_ns = gp_now_ns();
    if (d->head == NULL && d->open_count == 0 && d->in_hand == 0)
        d->under_way_ns = 0;
    be_pace_drained(d);
    pthread_cond_broadcast(&d->went);
}

void *
be_pace_main(void *arg)
{
    uint64_t nap_ns = NAP_LEAST_NS, busy_ns;
    struct be_pace_device *d = arg;
    struct be_pace_batch *batch;

    pthread_mutex_lock(&d->lock);
    for (;;) {
        while (d->head == NULL && !d->stop)
            pthread_cond_wait(&d->came, &d->lock);
        if (d->head == NULL)
            break;
        batch = batch_take(d, NULL, &busy_ns);
        if (batch == NULL) {
            nap_ns = doze(d, busy_ns, nap_ns);
            continue;
        }
        nap_ns = NAP_LEAST_NS;
        d->hand = batch;
        d->hand_ns = gp_now_ns();
        if (d->second_sleeps)
            pthread_cond_signal(&d->looks);
        batch_over(d, batch, NULL);
        d->hand = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* -- beside what takes long ---------------------------------------------------------------------
 */

/* With the lock held, as below. */
static void
looks_wait(struct be_pace_device *d, uint64_t ns)
{
    uint64_t until = gp_now_ns() + ns;
    struct timespec at = gp_timespec(until);

    (void)pthread_cond_timedwait(&d->looks, &d->lock, &at);
}

/* While the other thread waits for this batch, see those of other streams end. */
static void
beside(struct be_pace_device *d, struct be_pace_batch *longest)
{
    uint64_t nap_ns = NAP_LEAST_NS, busy_ns;

    while (d->hand == longest && !d->stop) {
        struct be_pace_batch *batch = batch_take(d, longest, &busy_ns);

        if (batch == NULL) {
            looks_wait(d, nap_ns);
            nap_ns = gp_min_u64(2 * nap_ns, NAP_LONG_NS);
            continue;
        }
        nap_ns = NAP_LEAST_NS;
        batch_over(d, batch, longest);
    }
}

void *
be_pace_second(void *arg)
{
    struct be_pace_device *d = arg;

    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        if (d->head == NULL && d->hand == NULL) {
            d->second_sleeps = true;
            pthread_cond_wait(&d->looks, &d->lock);
            d->second_sleeps = false;
        } else {
            looks_wait(d, BE_FAIR_STUCK_NS);
        }
        if (any_overdue(d)) {
            pthread_mutex_unlock(&d->lock);
            overdue_end(d);
            pthread_mutex_lock(&d->lock);
        }
        if (d->hand != NULL && gp_now_ns() - d->hand_ns >= BE_FAIR_STUCK_NS)
            beside(d, d->hand);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}
