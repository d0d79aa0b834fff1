/* frontend/core/notice.c */
#include "frontend/core/notice.h"

#include "frontend/core/hook.h"
#include "frontend/core/line.h"
#include "frontend/core/trace.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <stdio.h>
#include <string.h>

#define JOBS_MAX   65536u /* of a server that asks faster than we can answer */
#define PULL_BYTES (4u << 20)
/* The end of what is pulled goes by itself. */
#define PULL_END_BYTES (4u << 10)

struct job {
    struct job *next;
    struct fe_line *line;
    uint32_t tag;
    uint64_t a, b;
};

/* A thread of its own for each kind of request: a host function may take for ever, and may wait for
 * work that needs a pull. */
struct worker {
    pthread_mutex_t lock; /* rank 35 */
    pthread_cond_t came;
    /* Guarded by lock. */
    struct job *first, **end;
    unsigned count;
    bool started;
    /* Set once. */
    const char *name;
    void (*run)(const struct job *job);
};

static const struct fe_notice_handlers *handlers;

static void run_host(const struct job *job);
static void run_pull(const struct job *job);
static void run_lease(const struct job *job);
static void run_gate(const struct job *job);

static struct worker hosts = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .came = PTHREAD_COND_INITIALIZER,
    .name = "gpupool-host",
    .run = run_host,
};
static struct worker pulls = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .came = PTHREAD_COND_INITIALIZER,
    .name = "gpupool-pull",
    .run = run_pull,
};
static struct worker leases = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .came = PTHREAD_COND_INITIALIZER,
    .name = "gpupool-lease",
    .run = run_lease,
};

static struct worker gates = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .came = PTHREAD_COND_INITIALIZER,
    .name = "gpupool-gate",
    .run = run_gate,
};

void
fe_notice_hear(struct fe_session *s)
{
    fe_receive_look(s->line);
}

void
fe_notice_set_handlers(const struct fe_notice_handlers *new_handlers)
{
    handlers = new_handlers;
}

void
fe_notice_expect(struct fe_session *s, int change)
{
    fe_receive_expect(s->line, change);
}

/* --- the threads ------------------------------------------------------------- */

static void *
worker_thread(void *arg)
{
    struct worker *w = arg;
    struct job *job;

    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (w->first == NULL)
            pthread_cond_wait(&w->came, &w->lock);
        job = w->first;
        w->first = job->next;
        w->count--;
        pthread_mutex_unlock(&w->lock);
        w->run(job);
        free(job);
    }
    return NULL;
}

/* w->lock held. */
static bool
worker_push(struct worker *w, struct job *job)
{
    if (w->count == JOBS_MAX)
        return false;
    if (!w->started && fe_thread_create(w->name, worker_thread, w) != GP_OK)
        return false;
    w->started = true;
    if (w->first == NULL)
        w->end = &w->first;
    *w->end = job;
    w->end = &job->next;
    w->count++;
    pthread_cond_signal(&w->came);
    return true;
}

static void
hand_over(struct worker *w, struct fe_line *l, uint32_t tag, uint64_t a, uint64_t b)
{
    struct job *job = malloc(sizeof(*job));
    bool taken = false;

    if (job != NULL) {
        *job = (struct job){.line = l, .tag = tag, .a = a, .b = b};
        pthread_mutex_lock(&w->lock);
        taken = worker_push(w, job);
        pthread_mutex_unlock(&w->lock);
    }
    if (!taken) {
        free(job);
        fe_session_failf(l->session, CUDA_ERROR_OUT_OF_MEMORY, "no room for its request");
    }
}

static void
run_host(const struct job *job)
{
    struct wire_gpHostDone_args args = {.tag = job->tag};
    struct fe_call call;
    void *to;

    if (job->tag == 0) { /* a graph's end */
        if (handlers != NULL && handlers->graph_gone != NULL)
            handlers->graph_gone(job->line->session, job->a);
        return;
    }
    if (handlers != NULL && handlers->host != NULL)
        handlers->host(job->line->session, job->a, (CUresult)job->b);
    else
        log_warn("the server asked for host function %llu, none is known",
                 (unsigned long long)job->a);
    if (fe_enter_on(&call, WIRE_CALL_gpHostDone, job->line->session) != CUDA_SUCCESS)
        return;
    to = fe_post(&call, wire_size_gpHostDone_args(&args));
    if (to != NULL) {
        wire_put_gpHostDone_args(to, &args);
        fe_post_done(&call);
    }
    (void)fe_leave(&call, CUDA_SUCCESS);
}

/* How much of what is left goes next. Long pieces are lent to the lane and copied after they were
 * sent, where they must be kept (fe_settle()). Once the server has the last byte its queue goes on
 * and may write to this memory, so the last bytes are few: those are copied before they are sent.
 */
static uint32_t
pulled_piece(uint64_t left)
{
    if (left > PULL_BYTES)
        return PULL_BYTES;
    return (uint32_t)(left >= FE_TAIL_MIN ? left - PULL_END_BYTES : left);
}

static void
send_pulled(struct fe_session *s, uint32_t tag, const uint8_t *from, uint64_t bytes)
{
    struct wire_gpPulled_args args = {.tag = tag};
    struct fe_call call;
    void *to;

    if (fe_enter_on(&call, WIRE_CALL_gpPulled, s) != CUDA_SUCCESS)
        return;
    do {
        args.data_len = pulled_piece(bytes - args.offset);
        args.data = from + args.offset;
        to = fe_post_tail(&call, WIRE_HEAD_gpPulled_args, args.data, args.data_len);
        if (to == NULL)
            break;
        wire_head_gpPulled_args(to, &args);
        fe_post_done(&call);
        args.offset += args.data_len;
    } while (args.offset < bytes);
    (void)fe_leave(&call, CUDA_SUCCESS);
}

static void
run_pull(const struct job *job)
{
    struct fe_session *s = job->line->session;
    const uint8_t *from = NULL;

    if (handlers != NULL && handlers->pull != NULL)
        from = handlers->pull(s, job->a, job->b);
    if (from == NULL) {
        fe_session_failf(s, CUDA_ERROR_DEVICE_UNAVAILABLE,
                         "it asked for %llu bytes of memory that were not offered",
                         (unsigned long long)job->b);
        return;
    }
    send_pulled(s, job->tag, from, job->b);
    if (handlers->pull_done != NULL)
        handlers->pull_done(s, job->a, job->b);
}

static void
lease_back(const struct job *job)
{
    struct wire_gpLeaseReturn_args args = {.device = (int32_t)job->a};
    struct fe_call call;
    void *to;

    if (handlers == NULL || handlers->lease == NULL)
        return;
    args.bytes = handlers->lease(job->line->session, args.device);
    if (args.bytes == 0 ||
        fe_enter_on(&call, WIRE_CALL_gpLeaseReturn, job->line->session) != CUDA_SUCCESS)
        return;
    to = fe_post(&call, wire_size_gpLeaseReturn_args(&args));
    if (to != NULL) {
        wire_put_gpLeaseReturn_args(to, &args);
        fe_post_done(&call);
    }
    (void)fe_leave(&call, CUDA_SUCCESS);
}

static void
run_lease(const struct job *job)
{
    if (job->b != 0) { /* so much is too much */
        if (handlers != NULL && handlers->over != NULL)
            handlers->over(job->line->session, (int)job->a, job->b);
        return;
    }
    lease_back(job);
}

static void
run_gate(const struct job *job)
{
    struct fe_session *s = job->line->session;

    if (handlers == NULL)
        return;
    if (job->tag != 0) {
        if (handlers->lost != NULL)
            handlers->lost(s);
    } else if (handlers->gate != NULL) {
        handlers->gate(s, job->a, (CUresult)job->b);
    }
}

void
fe_notice_lost(struct fe_session *s)
{
    if (fe_sessions()->count > 1)
        hand_over(&gates, s->line, 1, 0, 0);
}

/* --- the reader's side --------------------------------------------------------- */

static void
take_freed(struct fe_line *l, const struct wire_gpNoticeFreed_args *args)
{
    if (handlers != NULL && handlers->freed != NULL)
        handlers->freed(l->session, args->device, args->addresses, args->addresses_len);
}

static void
take_lost(struct fe_line *l, const struct wire_gpNoticeLost_args *args)
{
    CUresult cr = args->result > 0 ? (CUresult)args->result : CUDA_ERROR_DEVICE_UNAVAILABLE;
    char reason[512];
    size_t i;

    for (i = 0; i < args->reason_len && i < sizeof(reason) - 1; i++)
        reason[i] = (unsigned char)args->reason[i] < ' ' ? '?' : args->reason[i];
    reason[i] = '\0';
    fe_session_failf(l->session, cr, "%s", reason);
}

static void
take_text(const struct fe_line *l, const struct wire_gpNoticeText_args *args)
{
    char text[512];
    size_t i;

    for (i = 0; i < args->text_len && i < sizeof(text) - 1; i++)
        text[i] = (unsigned char)args->text[i] < ' ' ? '?' : args->text[i];
    text[i] = '\0';
    log_warn("%s", text);
    fe_hook_run("told", l->session->url, text);
}

bool
fe_notice_record(struct fe_line *l, const struct wire_record *record, const uint8_t *args,
                 size_t len)
{
    union {
        struct wire_gpNoticePrint_args print;
        struct wire_gpNoticeHost_args host;
        struct wire_gpNoticePull_args pull;
        struct wire_gpNoticeFreed_args freed;
        struct wire_gpNoticeLost_args lost;
        struct wire_gpNoticeLease_args lease;
        struct wire_gpNoticeOver_args over;
        struct wire_gpNoticeText_args text;
        struct wire_gpNoticeGraphGone_args gone;
        struct wire_gpNoticeGate_args gate;
        struct wire_gpNoticeTrace_args trace;
        struct wire_gpNoticeLibrary_args library;
    } a;

    switch (record->call) {
    case WIRE_CALL_gpNoticePrint:
        if (!wire_get_gpNoticePrint_args(args, len, &a.print))
            return false;
        /* Through libc's stream, so that it falls in line with what the program prints. */
        (void)!fwrite(a.print.text, 1, a.print.text_len, stdout);
        return true;
    case WIRE_CALL_gpNoticeHost:
        if (!wire_get_gpNoticeHost_args(args, len, &a.host) || record->tag == 0)
            return false;
        hand_over(&hosts, l, record->tag, a.host.callback, (uint64_t)(uint32_t)a.host.status);
        return true;
    case WIRE_CALL_gpNoticePull:
        if (!wire_get_gpNoticePull_args(args, len, &a.pull))
            return false;
        hand_over(&pulls, l, record->tag, a.pull.source, a.pull.bytes);
        return true;
    case WIRE_CALL_gpNoticeFreed:
        if (!wire_get_gpNoticeFreed_args(args, len, &a.freed))
            return false;
        take_freed(l, &a.freed);
        return true;
    case WIRE_CALL_gpNoticeGraphGone:
        if (!wire_get_gpNoticeGraphGone_args(args, len, &a.gone))
            return false;
        for (size_t i = 0; i < a.gone.execs_len; i++)
            hand_over(&hosts, l, 0, a.gone.execs[i], 0);
        return true;
    case WIRE_CALL_gpNoticeGate:
        if (!wire_get_gpNoticeGate_args(args, len, &a.gate))
            return false;
        hand_over(&gates, l, 0, a.gate.gate, (uint64_t)(uint32_t)a.gate.status);
        return true;
    case WIRE_CALL_gpNoticeLost:
        if (!wire_get_gpNoticeLost_args(args, len, &a.lost))
            return false;
        take_lost(l, &a.lost);
        return true;
    case WIRE_CALL_gpNoticeLease:
        if (!wire_get_gpNoticeLease_args(args, len, &a.lease))
            return false;
        hand_over(&leases, l, 0, (uint32_t)a.lease.device, 0);
        return true;
    case WIRE_CALL_gpNoticeOver:
        if (!wire_get_gpNoticeOver_args(args, len, &a.over) || a.over.bytes == 0)
            return false;
        hand_over(&leases, l, 0, (uint32_t)a.over.device, a.over.bytes);
        return true;
    case WIRE_CALL_gpNoticeText:
        if (!wire_get_gpNoticeText_args(args, len, &a.text))
            return false;
        take_text(l, &a.text);
        return true;
    case WIRE_CALL_gpNoticeLibrary:
        if (!wire_get_gpNoticeLibrary_args(args, len, &a.library))
            return false;
        if (handlers != NULL && handlers->library != NULL)
            handlers->library(l->session, a.library.total, a.library.sha256, a.library.table,
                              a.library.table_len);
        return true;
    case WIRE_CALL_gpNoticeTrace:
        return wire_get_gpNoticeTrace_args(args, len, &a.trace) &&
               a.trace.took_ns_len == a.trace.begins_ns_len &&
               a.trace.calls_len == a.trace.begins_ns_len &&
               fe_trace_server(l->session, a.trace.begins_ns, a.trace.took_ns, a.trace.calls,
                               a.trace.calls_len);
    default:
        log_debug("notice %#x of the server is not known", record->call);
        return true; /* a newer server may say more */
    }
}
