/* frontend/core/session.c -- the process's sessions: begin, end, fork, exit */
#include "frontend/core/session.h"

#include "frontend/core/config.h"
#include "frontend/core/connect.h"
#include "frontend/core/hook.h"
#include "frontend/core/line.h"
#include "frontend/core/stats.h"
#include "frontend/core/thread.h"
#include "frontend/core/trace.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define START_NS    (4500 * GP_NS_PER_MS) /* for all servers together */
#define RETRY_NS    (5 * GP_NS_PER_S)     /* a failure is answered from memory for so long */
#define FINISH_NS   (500 * GP_NS_PER_MS)  /* for what is queued when the process ends */
#define API_VERSION 13000                 /* of cuDriverGetVersion before a session has told */

enum state {
    STATE_NONE,
    STATE_STARTING,
    STATE_READY,
    STATE_LOST,   /* all of them */
    STATE_FORKED, /* in a child of a process with a session */
    STATE_ENDED,  /* the process is exiting */
};

static struct {
    pthread_mutex_t lock; /* rank 10: one starts */
    /* Acquire and release; READY means that sessions are whole. */
    _Atomic int state;
    /* CUresult of the session that was lost last; set before state is. */
    _Atomic int32_t error;

    /* Guarded by lock. */
    CUresult failed; /* the last start's result */
    uint64_t retry_ns;

    /* Written once before READY. */
    struct fe_sessions sessions;
} engine = {.lock = PTHREAD_MUTEX_INITIALIZER};

static CUresult
state_result(int state)
{
    switch (state) {
    case STATE_READY:
        return CUDA_SUCCESS;
    case STATE_LOST:
        return (CUresult)atomic_load_explicit(&engine.error, memory_order_acquire);
    case STATE_ENDED:
        return CUDA_ERROR_DEINITIALIZED;
    default:
        return CUDA_ERROR_NOT_INITIALIZED;
    }
}

const struct fe_sessions *
fe_sessions(void)
{
    return &engine.sessions;
}

static CUresult
error_of(const struct fe_session *s)
{
    return (CUresult)atomic_load_explicit(&s->error, memory_order_acquire);
}

bool
fe_session_any(CUresult *cr_p)
{
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);

    if (GP_LIKELY(state == STATE_READY))
        return true;
    if (cr_p != NULL)
        *cr_p = state_result(state);
    return false;
}

struct fe_session *
fe_session_use(struct fe_session *s, CUresult *cr_p)
{
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);

    if (GP_LIKELY(state == STATE_READY && s != NULL &&
                  atomic_load_explicit(&s->error, memory_order_relaxed) == CUDA_SUCCESS))
        return s;
    if (cr_p == NULL)
        return NULL;
    if (state != STATE_READY)
        *cr_p = state_result(state);
    else
        *cr_p = s != NULL ? error_of(s) : CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return NULL;
}

struct fe_session *
fe_session_get(CUresult *cr_p)
{
    const struct fe_context_head *head = (const struct fe_context_head *)fe_thread.context;

    if (!fe_session_any(cr_p))
        return NULL;
    if (head != NULL && head->session != NULL && error_of(head->session) == CUDA_SUCCESS)
        return head->session;
    for (unsigned i = 0; i < engine.sessions.count; i++)
        if (error_of(engine.sessions.list[i]) == CUDA_SUCCESS)
            return engine.sessions.list[i];
    return fe_session_use(engine.sessions.list[0], cr_p); /* being lost just now */
}

CUresult
fe_session_result(const struct fe_session *s)
{
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);

    if (state == STATE_READY || state == STATE_LOST)
        return error_of(s);
    return state_result(state);
}

static bool
all_lost(void)
{
    for (unsigned i = 0; i < engine.sessions.count; i++)
        if (error_of(engine.sessions.list[i]) == CUDA_SUCCESS)
            return false;
    return true;
}

CUresult
fe_session_error(void)
{
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);

    if (state == STATE_READY && all_lost())
        return error_of(engine.sessions.list[0]); /* being lost just now */
    return state_result(state);
}

int
fe_driver_version(void)
{
    struct fe_session *s = fe_session_get(NULL);

    return s != NULL ? s->driver_version : API_VERSION;
}

/* --- end --------------------------------------------------------------------------- */

void
fe_session_failf(struct fe_session *s, CUresult cr, const char *fmt, ...)
{
    char why[FE_WHY_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    fe_session_fail(s, cr, why);
}

void
fe_session_fail(struct fe_session *s, CUresult cr, const char *why)
{
    int32_t none = CUDA_SUCCESS;
    int ready = STATE_READY;
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);

    if (state == STATE_ENDED || state == STATE_FORKED)
        return;
    if (!atomic_compare_exchange_strong(&s->error, &none, (int32_t)cr))
        return;
    log_error("lost the server %s: %s", s->url, why);
    fe_hook_run("ended", s->url, why);
    if (state != STATE_STARTING && all_lost()) {
        atomic_store_explicit(&engine.error, (int32_t)cr, memory_order_release);
        atomic_compare_exchange_strong(&engine.state, &ready, STATE_LOST);
    }
    fe_line_end(s->line);
    fe_notice_lost(s);
}

static void
at_exit(void)
{
    const struct fe_sessions *all = &engine.sessions;
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);
    uint64_t deadline_ns;
    int ready = STATE_READY;

    if (state != STATE_READY && state != STATE_LOST)
        return;
    /* From here on nothing new is posted; then what was, leaves. */
    fe_trace_finish();
    deadline_ns = gp_now_ns() + FINISH_NS;
    if (atomic_compare_exchange_strong(&engine.state, &ready, STATE_ENDED))
        for (unsigned i = 0; i < all->count; i++)
            if (error_of(all->list[i]) == CUDA_SUCCESS)
                fe_submit_finish(all->list[i]->line, deadline_ns);
    fe_stats_print(all);
    fe_trace_end();
    atomic_store_explicit(&engine.state, STATE_ENDED, memory_order_release);
    for (unsigned i = 0; i < all->count; i++)
        fe_line_end(all->list[i]->line);
}

/* The child owns copies of the descriptors: as long as they are open the servers would not see the
 * parent's end. */
static void
in_child(void)
{
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);

    if (state == STATE_NONE)
        return;
    fe_trace_abandon();
    atomic_store_explicit(&engine.state, STATE_FORKED, memory_order_release);
    for (unsigned i = 0; i < engine.sessions.count; i++)
        if (engine.sessions.list[i]->line != NULL)
            tp_abandon(engine.sessions.list[i]->line->lane);
}

/* As early as possible, so that our hook runs after those of the program and of libraries that
 * still make calls in theirs. */
__attribute__((constructor)) static void
register_hooks(void)
{
    (void)atexit(at_exit);
    (void)pthread_atfork(NULL, NULL, in_child);
}

/* --- begin ---------------------------------------------------------------------------- */

/* The threads of all lines, or of none. */
static CUresult
lines_start(void)
{
    const struct fe_sessions *all = &engine.sessions;

    for (unsigned i = 0; i < all->count; i++) {
        if (fe_line_start(all->list[i]->line) == GP_OK)
            continue;
        for (i = 0; i < all->count; i++)
            fe_line_end(all->list[i]->line);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}

/* engine.lock held. */
static CUresult
connect_now(void)
{
    uint64_t deadline_ns = gp_now_ns() + START_NS;
    char why[FE_WHY_BYTES];
    struct fe_config config;
    enum gp_status status = fe_config_load(&config);
    CUresult cr;

    if (status == GP_ERR_NOT_FOUND) {
        log_error("no pool server is configured: set GPUPOOL_SERVER=tls://host:port or write "
                  "~/.config/gpupool/client.ini");
        cr = CUDA_ERROR_NO_DEVICE;
    } else if (status != GP_OK) {
        cr = fe_connect_result(status); /* logged where it was decided */
    } else {
        memset(&engine.sessions, 0, sizeof(engine.sessions));
        fe_hook_set(config.notice_hook);
        cr = fe_connect(&config, deadline_ns, &engine.sessions, why);
        if (cr != CUDA_SUCCESS && why[0] != '\0')
            log_error("no pool: %s", why);
    }
    fe_config_fini(&config);
    return cr == CUDA_SUCCESS ? lines_start() : cr;
}

/* engine.lock held, no session yet. */
static CUresult
start_now(void)
{
    int starting = STATE_STARTING, ready = STATE_READY, none = STATE_NONE;
    CUresult cr;

    if (engine.failed != CUDA_SUCCESS && gp_now_ns() < engine.retry_ns)
        return engine.failed;
    if (!atomic_compare_exchange_strong(&engine.state, &none, STATE_STARTING))
        return state_result(none);
    cr = connect_now();
    engine.failed = cr;
    engine.retry_ns = gp_now_ns() + RETRY_NS;
    if (cr != CUDA_SUCCESS) {
        atomic_compare_exchange_strong(&engine.state, &starting, STATE_NONE);
        return cr;
    }
    atomic_compare_exchange_strong(&engine.state, &starting, STATE_READY);
    if (all_lost()) { /* meanwhile */
        atomic_store(&engine.error, (int32_t)error_of(engine.sessions.list[0]));
        atomic_compare_exchange_strong(&engine.state, &ready, STATE_LOST);
    }
    if (fe_session_error() == CUDA_SUCCESS)
        fe_trace_begin();
    return fe_session_error();
}

CUresult
fe_start(void)
{
    int state = atomic_load_explicit(&engine.state, memory_order_acquire);
    CUresult cr;

    if (state != STATE_NONE && state != STATE_STARTING)
        return state_result(state);
    pthread_mutex_lock(&engine.lock);
    state = atomic_load_explicit(&engine.state, memory_order_acquire);
    cr = state == STATE_NONE ? start_now() : state_result(state);
    pthread_mutex_unlock(&engine.lock);
    return cr;
}
