/* backend/cuda/stay.c */
#include "backend/cuda/stay.h"

#include "backend/cuda/callback.h"
#include "backend/cuda/named.h"
#include "backend/cuda/need.h"
#include "backend/cuda/pace.h"
#include "backend/memory/swap.h"
#include "backend/tenant/turns.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/codec.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_NS     (100 * GP_NS_PER_MS) /* while waiting: is the client still there? */
#define RETRY_NS    (20 * GP_NS_PER_MS)  /* after a failure of the driver */
#define PATIENCE_NS (10 * GP_NS_PER_MS)  /* stopped, though a stream waits for the client */
#define STUCK_NS    (1 * GP_NS_PER_S)    /* ... or for who knows what */
#define STUCK_MAX   (16 * GP_NS_PER_S)
#define YIELD_NS    (1 * GP_NS_PER_S) /* for what is under way to end, before it is in the way */
#define COMPLAIN_NS (1 * GP_NS_PER_S)
#define IDLER_NS    (20 * GP_NS_PER_MS) /* who has nothing under way is found idle at once */

struct stay_context {
    CUcontext handle; /* NULL: a free place */
    int32_t device;
    unsigned users; /* the pager works with it */
};

/* The executor, which waits for memory itself, is asked to let others have what it holds. What it
 * has under way may wait for what it would do next, so the pager waits for the end of that, and the
 * executor only for a while. */
enum yield {
    YIELD_NOT,
    YIELD_ASKED,
    YIELD_SYNCS, /* the pager waits for the end of what is under way */
    YIELD_MOVES, /* ... and lets go */
    YIELD_OFF,   /* the executor has given up, the pager waits still */
};

/* What a call needs on the device: all of the session's memory and extra bytes of a device, or what
 * it names only. */
struct want {
    const struct be_swap_named *only; /* NULL: all */
    int32_t extra_device;
    uint64_t extra;
};

struct be_stay {
    /* Set once. */
    struct be_session *session;
    pthread_t pager;
    unsigned evict_every;
    bool paged; /* else work is only counted */

    /* The executor's. */
    bool in;      /* the same as inside, to look at */
    bool reached; /* ... and calls that may reach all memory were the last to be let in */
    bool refused; /* its last wait for memory was in vain */
    unsigned rows;
    uint64_t pass_until_ns, patience_ns, beat_ns;

    /* The gate. Who goes in says so and then looks at closed; who closes looks at inside then. */
    atomic_bool inside, closed, stop;
    atomic_bool waits; /* the executor: it would work if it could */
    /* Since when the pager waits for the end of what is under way, or of the executor's call; 0: it
     * does not. */
    _Atomic uint64_t syncs_ns, calls_ns;
    _Atomic uint64_t lacks_ns; /* the executor waits for memory since; 0: it does not */

    pthread_mutex_t lock; /* rank 8 */
    pthread_cond_t changed;
    /* Guarded by lock. */
    struct stay_context *contexts;
    size_t context_count;
    bool moves;   /* somebody moves memory: nobody else does, nobody gets in */
    bool closing; /* the pager wants to */
    bool evicts;  /* all shall leave, for a test */
    enum yield yield;
    int32_t yield_device;
    uint64_t yield_bytes;
    const struct be_swap_named *yield_but; /* of our own will: what may go first, but these */

    /* The agent's: who looks whether the session is idle, since it may not be for ever. */
    pthread_t idler;
    bool idler_there;
    /* Guarded by lock. */
    bool idler_done;
    uint64_t idler_ns, idler_work;
};

/* -- contexts ---------------------------------------------------------------------------------- */

bool
be_stay_attach(struct be_session *session, const struct be_context *context)
{
    struct be_stay *stay = session->stay;
    struct stay_context *list;
    size_t at = 0;

    if (stay == NULL)
        return true;
    pthread_mutex_lock(&stay->lock);
    while (at < stay->context_count && stay->contexts[at].handle != NULL)
        at++;
    if (at == stay->context_count) {
        list = realloc(stay->contexts, (at + 1) * sizeof(*list));
        if (list == NULL) {
            pthread_mutex_unlock(&stay->lock);
            return false;
        }
        stay->contexts = list;
        stay->context_count++;
    }
    stay->contexts[at] =
        (struct stay_context){.handle = context->handle, .device = context->device};
    pthread_mutex_unlock(&stay->lock);
    return true;
}

void
be_stay_forget(struct be_session *session, const struct be_context *context)
{
    struct be_stay *stay = session->stay;

    if (stay == NULL)
        return;
    pthread_mutex_lock(&stay->lock);
    for (size_t i = 0; i < stay->context_count; i++) {
        if (stay->contexts[i].handle != context->handle)
            continue;
        while (stay->contexts[i].users != 0)
            pthread_cond_wait(&stay->changed, &stay->lock);
        stay->contexts[i].handle = NULL;
    }
    pthread_mutex_unlock(&stay->lock);
}

/* The at-th context, held and current; false beyond the last one. NULL: no such context. */
static bool
context_use(struct be_stay *stay, size_t at, int32_t device, CUcontext *handle_p)
{
    bool there;

    *handle_p = NULL;
    pthread_mutex_lock(&stay->lock);
    there = at < stay->context_count;
    if (there && stay->contexts[at].handle != NULL &&
        (device < 0 || stay->contexts[at].device == device)) {
        *handle_p = stay->contexts[at].handle;
        stay->contexts[at].users++;
    }
    pthread_mutex_unlock(&stay->lock);
    if (*handle_p != NULL)
        (void)stay->session->driver->table.cuCtxSetCurrent(*handle_p);
    return there;
}

static void
context_unuse(struct be_stay *stay, size_t at)
{
    (void)stay->session->driver->table.cuCtxSetCurrent(NULL);
    pthread_mutex_lock(&stay->lock);
    stay->contexts[at].users--;
    pthread_cond_broadcast(&stay->changed);
    pthread_mutex_unlock(&stay->lock);
}

/* Until nothing of the session is under way. A context with a sticky error runs nothing. */
static void
contexts_wait(struct be_stay *stay)
{
    CUcontext handle;

    for (size_t i = 0; context_use(stay, i, -1, &handle); i++) {
        if (handle == NULL)
            continue;
        (void)stay->session->driver->table.cuCtxSynchronize();
        context_unuse(stay, i);
    }
}

/* The same of the pager, for others' sake. */
static void
contexts_sync(struct be_stay *stay)
{
    atomic_store(&stay->syncs_ns, gp_now_ns());
    contexts_wait(stay);
    atomic_store(&stay->syncs_ns, 0);
}

/* -- moving ------------------------------------------------------------------------------------ */

/* So much of it out, or what there is room for in; only, but: as they have it. */
struct move {
    bool in;
    uint64_t bytes;
    const struct be_swap_named *named;
};

/* Move memory by a context that works; CUDA_ERROR_INVALID_CONTEXT without one. */
static CUresult
with_context(struct be_stay *stay, int32_t device, const struct move *move)
{
    struct be_space *space = stay->session->space;
    CUresult cr = CUDA_ERROR_INVALID_CONTEXT;
    CUcontext handle;

    for (size_t i = 0; cr != CUDA_SUCCESS && context_use(stay, i, device, &handle); i++) {
        if (handle == NULL)
            continue;
        cr = move->in ? be_swap_in(space, device, move->named)
                      : be_swap_out(space, device, move->bytes, move->named);
        context_unuse(stay, i);
    }
    return cr;
}

/* Nothing of it is under way. What a broken context has is of no use to anybody. */
static void
let_go(struct be_stay *stay, int32_t device, uint64_t bytes, const struct be_swap_named *but)
{
    const struct move out = {.bytes = bytes, .named = but};
    uint64_t began = gp_now_ns();
    CUresult cr = with_context(stay, device, &out);

    log_debug("session: memory of device %d paged out in %llu us: %llu MiB are wanted", device,
              (unsigned long long)((gp_now_ns() - began) / 1000),
              (unsigned long long)(bytes >> 20));
    if (cr == CUDA_SUCCESS || but != NULL)
        return;
    log_warn("session: memory of device %d stays, though it is wanted: %s", device,
             be_driver_error(stay->session->driver, cr));
    be_rooms_cannot(stay->session->ledger, (unsigned)device);
}

/* stay.lock is held. */
static bool
missing(const struct be_stay *stay, const struct be_swap_named *only)
{
    if (only != NULL)
        return !be_swap_there(stay->session->space, only);
    for (int d = 0; d < stay->session->driver->device_count; d++)
        if (be_swap_missing(stay->session->space, d, NULL) != 0)
            return true;
    return false;
}

/* stay.lock is held. */
static void
gate_set(struct be_stay *stay)
{
    atomic_store(&stay->closed, stay->closing || missing(stay, NULL));
    pthread_cond_broadcast(&stay->changed);
}

/* -- the pager --------------------------------------------------------------------------------- */

/* The executor is in no call that touches memory, and nothing it gave the device is under way;
 * nobody gets in until moves_end(). False: the session ends, or the executor yields by itself. */
static bool
moves_begin(struct be_stay *stay)
{
    uint64_t work;

    pthread_mutex_lock(&stay->lock);
    stay->closing = true;
    atomic_store(&stay->closed, true);
    be_turns_wake(stay->session->ledger);
    for (;;) {
        atomic_store(&stay->calls_ns, gp_now_ns());
        while ((atomic_load(&stay->inside) || stay->moves) && !atomic_load(&stay->stop) &&
               stay->yield != YIELD_ASKED)
            pthread_cond_wait(&stay->changed, &stay->lock);
        atomic_store(&stay->calls_ns, 0);
        if (atomic_load(&stay->stop) || stay->yield == YIELD_ASKED)
            break;
        work = be_rooms_work(stay->session->ledger);
        pthread_mutex_unlock(&stay->lock);
        contexts_sync(stay);
        pthread_mutex_lock(&stay->lock);
        if (!atomic_load(&stay->inside) && !stay->moves &&
            be_rooms_work(stay->session->ledger) == work) {
            stay->moves = true;
            be_swap_quiet(stay->session->space);
            pthread_mutex_unlock(&stay->lock);
            return true;
        }
    }
    stay->closing = false;
    pthread_mutex_unlock(&stay->lock);
    return false;
}

static void
moves_end(struct be_stay *stay)
{
    pthread_mutex_lock(&stay->lock);
    stay->moves = stay->closing = false;
    gate_set(stay);
    pthread_mutex_unlock(&stay->lock);
}

/* Others wait for room: when did this session work last? 0: it works. */
static uint64_t
idle_since(struct be_stay *stay, void (*wait)(struct be_stay *stay), uint64_t *work_p)
{
    uint64_t work = be_rooms_work(stay->session->ledger), began = gp_now_ns(), now;

    *work_p = work;

    /* A stream that waits for the client is not done, and nothing shall wait for it. */
    if (atomic_load(&stay->inside) || atomic_load(&stay->waits) ||
        be_callbacks_pending(stay->session))
        return 0;
    wait(stay);
    now = gp_now_ns();
    if (atomic_load(&stay->inside) || atomic_load(&stay->waits) ||
        be_rooms_work(stay->session->ledger) != work)
        return 0;
    /* If it had to be waited for, it was at work until now. */
    return now - began > GP_NS_PER_MS ? now
                                      : gp_max_u64(be_rooms_worked_ns(stay->session->ledger), 1);
}

static void
look(struct be_stay *stay, uint64_t *until_p)
{
    struct be_session *session = stay->session;

    for (int d = 0; d < session->driver->device_count; d++) {
        uint64_t until = UINT64_MAX, bytes, idle, work;

        if (!be_rooms_wanted(session->ledger, (unsigned)d))
            continue;
        idle = idle_since(stay, contexts_sync, &work);
        bytes = be_rooms_look(session->ledger, (unsigned)d, idle, work, &until);
        if (bytes != 0 && moves_begin(stay)) {
            /* Perhaps it is not wanted any more. */
            bytes = be_rooms_look(session->ledger, (unsigned)d, gp_now_ns(),
                                  be_rooms_work(session->ledger), &until);
            if (bytes != 0)
                let_go(stay, d, bytes, NULL);
            moves_end(stay);
            until = 0;
        }
        *until_p = gp_min_u64(*until_p, until);
    }
}

/* The executor holds still meanwhile (stay.moves is its). */
static void
yield(struct be_stay *stay)
{
    const struct be_swap_named *but = NULL;
    uint64_t bytes = 0;
    int32_t device = 0;

    pthread_mutex_lock(&stay->lock);
    if (stay->yield != YIELD_ASKED) {
        pthread_mutex_unlock(&stay->lock);
        return;
    }
    stay->yield = YIELD_SYNCS;
    pthread_mutex_unlock(&stay->lock);
    contexts_sync(stay);
    pthread_mutex_lock(&stay->lock);
    if (stay->yield == YIELD_SYNCS) {
        stay->yield = YIELD_MOVES;
        device = stay->yield_device;
        bytes = stay->yield_bytes;
        but = stay->yield_but;
    }
    pthread_mutex_unlock(&stay->lock);
    if (bytes != 0)
        let_go(stay, device, bytes, but);
    pthread_mutex_lock(&stay->lock);
    stay->yield = YIELD_NOT;
    pthread_cond_broadcast(&stay->changed);
    pthread_mutex_unlock(&stay->lock);
}

static void
evict_all(struct be_stay *stay)
{
    if (moves_begin(stay)) {
        for (int d = 0; d < stay->session->driver->device_count; d++)
            let_go(stay, d, UINT64_MAX, NULL);
        moves_end(stay);
    }
    pthread_mutex_lock(&stay->lock);
    stay->evicts = false;
    pthread_mutex_unlock(&stay->lock);
}

static void *
pager_main(void *arg)
{
    struct be_stay *stay = arg;
    struct be_ledger *ledger = stay->session->ledger;

    while (!atomic_load(&stay->stop)) {
        uint32_t word = be_rooms_word(ledger);
        uint64_t until = UINT64_MAX;
        bool evicts;

        pthread_mutex_lock(&stay->lock);
        evicts = stay->evicts;
        pthread_mutex_unlock(&stay->lock);
        if (evicts)
            evict_all(stay);
        yield(stay);
        look(stay, &until);
        if (!atomic_load(&stay->stop) && until > gp_now_ns())
            be_rooms_await(ledger, word, until);
    }
    return NULL;
}

/* -- the executor ------------------------------------------------------------------------------ */

static void
go_in(struct be_stay *stay)
{
    stay->in = true;
    be_rooms_work_begin(stay->session->ledger);
    atomic_store(&stay->inside, true);
}

static void
go_out(struct be_stay *stay)
{
    stay->in = stay->reached = false;
    be_quick_forget(&stay->session->quick);
    stay->pass_until_ns = 0;
    be_rooms_work_end(stay->session->ledger);
    atomic_store(&stay->inside, false);
    if (!atomic_load(&stay->closed))
        return;
    pthread_mutex_lock(&stay->lock);
    pthread_cond_broadcast(&stay->changed);
    pthread_mutex_unlock(&stay->lock);
}

/* With the lock held; false: the client is gone. */
static bool
gate_wait(struct be_stay *stay)
{
    uint64_t until = gp_now_ns() + PATIENCE_NS;
    struct timespec at = gp_timespec(until);
    bool there;

    (void)pthread_cond_timedwait(&stay->changed, &stay->lock, &at);
    pthread_mutex_unlock(&stay->lock);
    there = be_client_look(stay->session, &stay->beat_ns);
    pthread_mutex_lock(&stay->lock);
    return there;
}

/* The pager shall let go so much: what others want, who go first, or what may go without them.
 * False: what is under way does not end; or the client is gone. */
static bool
yield_ask(struct be_stay *stay, int32_t device, uint64_t bytes, const struct be_swap_named *but)
{
    uint64_t until = gp_now_ns() + YIELD_NS;
    bool done, there = true;

    pthread_mutex_lock(&stay->lock);
    stay->yield = stay->yield == YIELD_OFF ? YIELD_SYNCS : YIELD_ASKED;
    stay->yield_device = device;
    stay->yield_bytes = bytes;
    stay->yield_but = but;
    pthread_cond_broadcast(&stay->changed);
    pthread_mutex_unlock(&stay->lock);
    be_rooms_wake(stay->session->ledger);
    pthread_mutex_lock(&stay->lock);
    while (stay->yield != YIELD_NOT &&
           (stay->yield == YIELD_MOVES || (there && gp_now_ns() < until)))
        there = gate_wait(stay);
    done = stay->yield == YIELD_NOT;
    if (!done)
        stay->yield = stay->yield == YIELD_SYNCS ? YIELD_OFF : YIELD_NOT;
    pthread_mutex_unlock(&stay->lock);
    return done;
}

/* Nobody else need leave for what is named, if enough of our own may go first. */
static void
own_leave(struct be_stay *stay, int32_t device, const struct be_swap_named *only)
{
    uint64_t bytes = be_swap_own(stay->session->space, device, only);

    if (bytes != 0 && !be_callbacks_pending(stay->session))
        (void)yield_ask(stay, device, bytes, only);
}

/* What a device lacks, and room for extra bytes, as far as it can be had now. True: all. */
static bool
page_in(struct be_stay *stay, int32_t device, const struct want *want, uint64_t *until_p)
{
    uint64_t extra = device == want->extra_device ? want->extra : 0;
    const struct move in = {.in = true, .named = want->only};
    struct be_session *session = stay->session;
    struct be_rooms_answer answer;
    CUresult cr;

    if (extra == 0 && be_swap_missing(session->space, device, want->only) == 0)
        return true;
    if (want->only != NULL)
        own_leave(stay, device, want->only);
    if (be_swap_enter(session->space, device, extra, want->only, &answer))
        return true;
    if (answer.leave_bytes != 0) { /* for who goes first */
        if (be_callbacks_pending(session) || !yield_ask(stay, device, answer.leave_bytes, NULL))
            be_rooms_cannot(session->ledger, (unsigned)device);
        *until_p = 0;
        return false;
    }
    cr = with_context(stay, device, &in);
    if (cr == CUDA_ERROR_ECC_UNCORRECTABLE)
        be_client_end(session, cr, "memory that was paged out to a disk is damaged");
    if (cr != CUDA_SUCCESS) { /* nothing is lost, and what fails now may work soon */
        log_debug("session: paging in: %s", be_driver_error(session->driver, cr));
        answer.until_ns = gp_min_u64(answer.until_ns, gp_now_ns() + RETRY_NS);
    } else if (be_swap_enter(session->space, device, extra, want->only, &answer)) {
        return true;
    }
    *until_p = gp_min_u64(*until_p, answer.until_ns);
    return false;
}

/* Nobody will ever leave for it. */
static bool
jammed(const struct be_session *session)
{
    for (int d = 0; d < session->driver->device_count; d++)
        if (be_rooms_jammed(session->ledger, (unsigned)d)) {
            log_warn("session: calls are refused: all sessions that have memory of device %d wait "
                     "for more of it, and for their own later calls",
                     d);
            return true;
        }
    return false;
}

/* Those who keep it from its memory shall look how long they do already. */
static void
complain(struct be_session *session, uint64_t *next_ns)
{
    uint64_t now = gp_now_ns();

    if (now < *next_ns)
        return;
    *next_ns = now + COMPLAIN_NS;
    be_ledger_ring(session->ledger);
}

/* Until all that is wanted is on all devices. */
static enum be_stay_verdict
bring_in(struct be_stay *stay, const struct want *want)
{
    struct be_session *session = stay->session;
    struct be_context *current = session->current;
    uint64_t began = gp_now_ns(), complain_ns = began + COMPLAIN_NS;
    bool good = false, there = true, refused = false;

    atomic_store(&stay->lacks_ns, began);
    while (!good && !refused && (there = be_client_look(session, &stay->beat_ns))) {
        uint32_t word = be_rooms_word(session->ledger);
        uint64_t until = gp_now_ns() + LOOK_NS;

        good = true;
        for (int d = 0; d < session->driver->device_count; d++)
            good = page_in(stay, d, want, &until) && good;
        refused = !good && (stay->refused || jammed(session));
        if (!good && !refused && until > gp_now_ns())
            be_rooms_await(session->ledger, word, until);
        if (!good)
            complain(session, &complain_ns);
    }
    atomic_store(&stay->lacks_ns, 0);
    be_count(session->row, BE_COUNT_ROOM_WAIT_NS, gp_now_ns() - began);
    log_debug("session: memory paged in, %llu us after it was needed",
              (unsigned long long)((gp_now_ns() - began) / 1000));
    for (int d = 0; !good && d < session->driver->device_count; d++)
        be_rooms_leave(session->ledger, (unsigned)d);
    stay->refused = refused;
    session->current = NULL;
    (void)be_use_context(session, current);
    return good ? BE_STAY_GO : there ? BE_STAY_REFUSED : BE_STAY_GONE;
}

/* With the lock held: stopped for others' sake, who cannot have it before a later call comes. */
static bool
let_through(struct be_stay *stay, uint64_t stopped_ns)
{
    uint64_t now = gp_now_ns();

    if (stay->moves || now - stopped_ns < PATIENCE_NS ||
        (now - stopped_ns < stay->patience_ns && !be_callbacks_pending(stay->session)))
        return false;
    stay->pass_until_ns = now + (now - stopped_ns);
    stay->patience_ns = gp_min_u64(2 * stay->patience_ns, STUCK_MAX);
    return true;
}

/* Until the gate is open, nothing that is wanted is missing; then it is in. What is named and not
 * there may be of an object of the program's own: then all comes. */
static enum be_stay_verdict
gate_pass(struct be_stay *stay, struct want want)
{
    enum be_stay_verdict verdict = BE_STAY_GO;
    uint64_t stopped = gp_now_ns();

    /* Nothing of ours may wait for us: not what is open, nor who waits for answers. */
    be_pace_flush(stay->session);
    be_parked_hand_over(stay->session);
    be_flush(stay->session);
    if (stay->in)
        go_out(stay);
    stay->beat_ns = stopped;
    atomic_store(&stay->waits, true);
    pthread_mutex_lock(&stay->lock);
    while (verdict == BE_STAY_GO &&
           (stay->moves || stay->closing || want.extra != 0 || missing(stay, want.only))) {
        if (!stay->moves && (want.extra != 0 || missing(stay, want.only))) {
            stay->moves = true;
            pthread_mutex_unlock(&stay->lock);
            verdict = bring_in(stay, &want);
            if (verdict == BE_STAY_GO && want.only != NULL && missing(stay, want.only)) {
                want.only = NULL;
                verdict = bring_in(stay, &want);
            }
            pthread_mutex_lock(&stay->lock);
            stay->moves = false;
            gate_set(stay);
            break;
        }
        if (let_through(stay, stopped))
            break;
        verdict = gate_wait(stay) ? BE_STAY_GO : BE_STAY_GONE;
    }
    if (!stay->closing)
        stay->patience_ns = STUCK_NS;
    go_in(stay);
    atomic_store(&stay->waits, false);
    pthread_mutex_unlock(&stay->lock);
    return verdict;
}

/* It is in, and the gate is closed: because of what others want, or for what is missing of ours. */
static enum be_stay_verdict
gate_try(struct be_stay *stay, const struct be_swap_named *only)
{
    bool good;

    if (only == NULL && stay->pass_until_ns == 0)
        return gate_pass(stay, (struct want){0});
    pthread_mutex_lock(&stay->lock);
    good = !stay->moves && (!stay->closing || gp_now_ns() < stay->pass_until_ns) &&
           !missing(stay, only);
    pthread_mutex_unlock(&stay->lock);
    return good ? BE_STAY_GO : gate_pass(stay, (struct want){.only = only});
}

enum be_stay_verdict
be_stay_enter(struct be_session *session, uint16_t call, const uint8_t *body, size_t len)
{
    enum be_stay_verdict verdict = BE_STAY_GO;
    struct be_stay *stay = session->stay;
    struct be_swap_named named;
    enum be_need need;

    if (stay == NULL)
        return BE_STAY_GO;
    need = be_need_of(call);
    if (need == BE_NEED_NOTHING ||
        (need == BE_NEED_BY_ADDRESS && !be_need_pages(session, call, body, len)))
        return BE_STAY_GO;
    if (stay->reached && need == BE_NEED_MEMORY && !atomic_load(&stay->closed))
        return BE_STAY_GO;
    if (!stay->in)
        go_in(stay);
    if (!stay->paged)
        return BE_STAY_GO;
    if (need == BE_NEED_NAMED &&
        !(be_named(call, body, len, &named) && be_swap_known(session->space, &named)))
        need = BE_NEED_MEMORY;
    if (atomic_load(&stay->closed))
        verdict = gate_try(stay, need == BE_NEED_NAMED ? &named : NULL);
    /* Nothing moves any more now. */
    if (need == BE_NEED_NAMED)
        be_swap_touched(session->space, &named);
    else
        be_swap_reached(session->space);
    stay->reached = need != BE_NEED_NAMED;
    if (!stay->reached)
        be_quick_forget(&session->quick);
    return verdict;
}

bool
be_stay_asked(struct be_session *session)
{
    struct be_stay *stay = session->stay;
    bool asked;

    if (stay == NULL || !stay->in || !atomic_load(&stay->closed))
        return false;
    pthread_mutex_lock(&stay->lock);
    asked = stay->closing && gp_now_ns() >= stay->pass_until_ns;
    pthread_mutex_unlock(&stay->lock);
    return asked;
}

void
be_stay_leave(struct be_session *session)
{
    struct be_stay *stay = session->stay;

    if (stay == NULL || !stay->in)
        return;
    go_out(stay);
    if (stay->evict_every == 0 || ++stay->rows % stay->evict_every != 0)
        return;
    pthread_mutex_lock(&stay->lock);
    stay->evicts = true;
    pthread_mutex_unlock(&stay->lock);
    be_rooms_wake(session->ledger);
}

void
be_stay_grown(struct be_session *session)
{
    struct be_stay *stay = session->stay;

    if (stay == NULL || !stay->paged)
        return;
    pthread_mutex_lock(&stay->lock);
    if (missing(stay, NULL)) {
        atomic_store(&stay->closed, true);
        stay->pass_until_ns = 0;
    }
    pthread_mutex_unlock(&stay->lock);
}

bool
be_stay_room(struct be_session *session, int32_t device, uint64_t bytes)
{
    if (session->stay == NULL || !session->stay->paged || bytes == 0)
        return true;
    if (!be_ledger_fix(session->ledger, (unsigned)device, bytes))
        return true; /* nobody has to leave for what will be refused */
    be_ledger_unfix(session->ledger, (unsigned)device, bytes);
    return gate_pass(session->stay, (struct want){.extra_device = device, .extra = bytes}) ==
           BE_STAY_GO;
}

uint64_t
be_stay_busy(const struct be_session *session, bool *call_p)
{
    const struct be_stay *stay = session->stay;
    uint64_t syncs_ns, calls_ns;

    *call_p = false;
    if (stay == NULL)
        return 0;
    syncs_ns = atomic_load(&stay->syncs_ns);
    calls_ns = atomic_load(&stay->calls_ns);
    *call_p = syncs_ns == 0 && calls_ns != 0;
    return syncs_ns != 0 ? syncs_ns : calls_ns;
}

uint64_t
be_stay_lacks(const struct be_session *session)
{
    return session->stay != NULL ? atomic_load(&session->stay->lacks_ns) : 0;
}

static void *
idler_main(void *arg)
{
    struct be_stay *stay = arg;
    uint64_t work, ns = idle_since(stay, contexts_wait, &work);

    pthread_mutex_lock(&stay->lock);
    stay->idler_ns = ns;
    stay->idler_work = work;
    stay->idler_done = true;
    pthread_cond_broadcast(&stay->changed);
    pthread_mutex_unlock(&stay->lock);
    return NULL;
}

/* True if it is done, then it is no more there. */
static bool
idler_end(struct be_stay *stay, uint64_t until)
{
    struct timespec at = gp_timespec(until);
    bool done;

    pthread_mutex_lock(&stay->lock);
    while (!stay->idler_done && gp_now_ns() < until)
        (void)pthread_cond_timedwait(&stay->changed, &stay->lock, &at);
    done = stay->idler_done;
    pthread_mutex_unlock(&stay->lock);
    if (done)
        pthread_join(stay->idler, NULL);
    stay->idler_there = !done;
    return done;
}

uint64_t
be_stay_idle(struct be_session *session, uint64_t *work_p)
{
    struct be_stay *stay = session->stay;

    *work_p = be_rooms_work(session->ledger);
    if (stay == NULL || atomic_load_explicit(&session->pending, memory_order_relaxed) != 0)
        return 0; /* somebody waits for what is under way */
    if (!stay->idler_there) {
        stay->idler_done = false;
        stay->idler_there = pthread_create(&stay->idler, NULL, idler_main, stay) == 0;
    }
    if (!stay->idler_there || !idler_end(stay, gp_now_ns() + IDLER_NS) ||
        stay->idler_work != *work_p)
        return 0;
    return stay->idler_ns;
}

/* -- life -------------------------------------------------------------------------------------- */

enum gp_status
be_stay_start(struct be_session *session, unsigned evict_every)
{
    pthread_condattr_t attr;
    struct be_stay *stay;

    if (!be_ledger_paged(session->ledger) && !be_ledger_governed(session->ledger))
        return GP_OK;
    stay = calloc(1, sizeof(*stay));
    if (stay == NULL)
        return GP_ERR_NO_MEMORY;
    stay->session = session;
    stay->evict_every = evict_every;
    stay->paged = be_ledger_paged(session->ledger);
    stay->patience_ns = STUCK_NS;
    pthread_mutex_init(&stay->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&stay->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (stay->paged && pthread_create(&stay->pager, NULL, pager_main, stay) != 0) {
        log_error("session: cannot make a thread: %m");
        pthread_cond_destroy(&stay->changed);
        pthread_mutex_destroy(&stay->lock);
        free(stay);
        return GP_ERR_NO_MEMORY;
    }
    session->quick.closed = &stay->closed;
    session->stay = stay;
    return GP_OK;
}

void
be_stay_stop(struct be_session *session)
{
    struct be_stay *stay = session->stay;

    if (stay == NULL)
        return;
    session->stay = NULL;
    session->quick = (struct be_quick){0};
    pthread_mutex_lock(&stay->lock);
    atomic_store(&stay->stop, true);
    atomic_store(&stay->inside, false);
    pthread_cond_broadcast(&stay->changed);
    pthread_mutex_unlock(&stay->lock);
    if (stay->idler_there)
        pthread_join(stay->idler, NULL);
    if (stay->paged) {
        be_rooms_wake(session->ledger);
        pthread_join(stay->pager, NULL);
    }
    pthread_cond_destroy(&stay->changed);
    pthread_mutex_destroy(&stay->lock);
    free(stay->contexts);
    free(stay);
}
