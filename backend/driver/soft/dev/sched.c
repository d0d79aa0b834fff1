/* backend/driver/soft/dev/sched.c -- timelines, operations and the executor threads */
#include "backend/driver/soft/dev/sched.h"

#include "backend/driver/soft/dev/green.h"
#include "backend/driver/soft/dev/ipc_event.h"
#include "backend/driver/soft/dev/texture.h"
#include "backend/driver/soft/dev/thread.h"
#include "protocol/base/use.h"
#include "protocol/base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define EXECUTORS_MAX 128
#define QUEUES        6 /* stream priorities 0 .. -5 */
#define SPIN_ROUNDS   400
#define OPS_KEPT      256
#define POLL_SHORT_NS 20000
#define POLL_LONG_NS  1000000

struct stream_queue {
    struct CUstream_st *first;
    struct CUstream_st *last;
};

/* Rank 30; guards everything below, all streams' queues and timelines' lists. */
static pthread_mutex_t sched_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sched_cond = PTHREAD_COND_INITIALIZER;
static struct stream_queue queues[QUEUES];
static _Atomic unsigned queued; /* read without the lock by idle executors */
static unsigned executors;
static unsigned idle;
static struct CUstream_st *polling; /* linked by park_next */
static bool poller_runs;
static pthread_cond_t poll_cond = PTHREAD_COND_INITIALIZER;

/* Spare operations, to spare malloc; the last one that was freed, to spare the lock. */
static _Atomic(struct sd_op *) op_last;
static pthread_mutex_t op_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sd_op *op_spare;
static unsigned op_spares;

void
sd_sched_lock(void)
{
    pthread_mutex_lock(&sched_lock);
}

void
sd_sched_unlock(void)
{
    pthread_mutex_unlock(&sched_lock);
}

/* --- timelines and marks --- */

struct sd_timeline *
sd_timeline_get(struct sd_timeline *timeline)
{
    atomic_fetch_add_explicit(&timeline->refs, 1, memory_order_relaxed);
    return timeline;
}

void
sd_timeline_put(struct sd_timeline *timeline)
{
    if (atomic_fetch_sub_explicit(&timeline->refs, 1, memory_order_acq_rel) == 1)
        free(timeline);
}

struct sd_mark *
sd_mark_new(void)
{
    struct sd_mark *mark = calloc(1, sizeof(*mark));

    if (mark != NULL)
        atomic_init(&mark->refs, 1);
    return mark;
}

struct sd_mark *
sd_mark_get(struct sd_mark *mark)
{
    atomic_fetch_add_explicit(&mark->refs, 1, memory_order_relaxed);
    return mark;
}

void
sd_mark_put(struct sd_mark *mark)
{
    if (mark == NULL || atomic_fetch_sub_explicit(&mark->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (mark->timeline != NULL)
        sd_timeline_put(mark->timeline);
    free(mark);
}

bool
sd_timeline_reached(struct sd_timeline *timeline, uint64_t seq)
{
    return atomic_load_explicit(&timeline->completed, memory_order_acquire) >= seq;
}

static void
futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void
futex_wake_all(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void
cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* --- operations --- */

static struct sd_op *
spare_take(void)
{
    struct sd_op *op;

    pthread_mutex_lock(&op_lock);
    op = op_spare;
    if (op != NULL) {
        op_spare = op->next;
        op_spares--;
    }
    pthread_mutex_unlock(&op_lock);
    return op;
}

struct sd_op *
sd_op_new(enum sd_work_kind kind, struct CUctx_st *ctx)
{
    struct sd_op *op = atomic_exchange_explicit(&op_last, NULL, memory_order_acquire);

    if (op == NULL)
        op = spare_take();
    if (op == NULL)
        op = malloc(sizeof(*op));
    if (op == NULL)
        return NULL;
    memset(op, 0, sizeof(*op));
    op->work.kind = kind;
    op->work.ctx = ctx;
    op->launches = kind == SD_WORK_KERNEL || kind == SD_WORK_GRAPH;
    if (op->launches) {
        op->textures = sd_textures_enter();
        op->use = gp_use_begin();
    }
    return op;
}

void
sd_op_free(struct sd_op *op)
{
    if (op == NULL)
        return;
    for (unsigned i = 0; i < op->dep_count; i++)
        sd_timeline_put(op->deps[i].timeline);
    free(op->deps);
    sd_work_fini(&op->work);
    if (op->launches) {
        sd_textures_leave(op->textures);
        gp_use_end(op->use);
    }
    op = atomic_exchange_explicit(&op_last, op, memory_order_acq_rel);
    if (op == NULL)
        return;
    pthread_mutex_lock(&op_lock);
    if (op_spares < OPS_KEPT) {
        op->next = op_spare;
        op_spare = op;
        op_spares++;
        op = NULL;
    }
    pthread_mutex_unlock(&op_lock);
    free(op);
}

CUresult
sd_op_depend(struct sd_op *op, struct sd_timeline *timeline, uint64_t seq)
{
    struct sd_dep *deps;

    if (sd_timeline_reached(timeline, seq))
        return CUDA_SUCCESS;
    deps = realloc(op->deps, (op->dep_count + 1) * sizeof(*deps));
    if (deps == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    op->deps = deps;
    deps[op->dep_count++] = (struct sd_dep){sd_timeline_get(timeline), seq};
    return CUDA_SUCCESS;
}

/* --- the run queue; the lock is held --- */

static unsigned
queue_of(const struct CUstream_st *stream)
{
    return (unsigned)-stream->priority;
}

static void
queue_push(struct CUstream_st *stream)
{
    struct stream_queue *q = &queues[queue_of(stream)];

    stream->state = SD_STREAM_QUEUED;
    stream->queue_next = NULL;
    stream->queue_prev = q->last;
    if (q->last != NULL)
        q->last->queue_next = stream;
    else
        q->first = stream;
    q->last = stream;
    atomic_fetch_add_explicit(&queued, 1, memory_order_release);
}

static void
queue_remove(struct CUstream_st *stream)
{
    struct stream_queue *q = &queues[queue_of(stream)];

    if (stream->queue_prev != NULL)
        stream->queue_prev->queue_next = stream->queue_next;
    else
        q->first = stream->queue_next;
    if (stream->queue_next != NULL)
        stream->queue_next->queue_prev = stream->queue_prev;
    else
        q->last = stream->queue_prev;
    stream->state = SD_STREAM_RUNNING;
    atomic_fetch_sub_explicit(&queued, 1, memory_order_relaxed);
}

static struct CUstream_st *
queue_pop(void)
{
    for (unsigned i = QUEUES; i-- > 0;) {
        struct CUstream_st *stream = queues[i].first;

        if (stream != NULL) {
            queue_remove(stream);
            return stream;
        }
    }
    return NULL;
}

static void *executor_main(void *arg);

static void
make_ready(struct CUstream_st *stream)
{
    queue_push(stream);
    if (atomic_load_explicit(&queued, memory_order_relaxed) > idle && executors < EXECUTORS_MAX)
        executors += sd_thread_start(executor_main);
    else
        pthread_cond_signal(&sched_cond);
}

/* Streams parked on the timeline whose number has come. */
static void
release_parked(struct sd_timeline *timeline, uint64_t completed)
{
    struct CUstream_st **link = &timeline->waiting;

    while (*link != NULL) {
        struct CUstream_st *stream = *link;

        if (stream->park_seq > completed) {
            link = &stream->park_next;
            continue;
        }
        *link = stream->park_next;
        make_ready(stream);
    }
}

static void
complete(struct CUstream_st *stream, uint64_t seq)
{
    struct sd_timeline *timeline = stream->timeline;

    atomic_store(&timeline->completed, seq);
    if (timeline->waiting != NULL)
        release_parked(timeline, seq);
    if (atomic_load(&timeline->sleepers) != 0) {
        atomic_fetch_add(&timeline->wake, 1);
        futex_wake_all(&timeline->wake);
    }
}

/* False: the stream was parked, because op waits for a timeline. */
static bool
deps_reached(struct CUstream_st *stream, struct sd_op *op)
{
    for (; op->dep_next < op->dep_count; op->dep_next++) {
        struct sd_dep *dep = &op->deps[op->dep_next];

        if (sd_timeline_reached(dep->timeline, dep->seq))
            continue;
        stream->state = SD_STREAM_PARKED;
        stream->park_seq = dep->seq;
        stream->park_next = dep->timeline->waiting;
        dep->timeline->waiting = stream;
        return false;
    }
    return true;
}

static void stream_free(struct CUstream_st *stream);

static void
set_busy(struct CUstream_st *stream, bool busy)
{
    if (stream->busy == busy)
        return;
    stream->busy = busy;
    if (!stream->legacy && (stream->flags & CU_STREAM_NON_BLOCKING) == 0)
        stream->ctx->busy_blocking += busy ? 1 : (unsigned)-1;
}

/* --- waits for memory --- */

static bool
poll_once(void)
{
    struct CUstream_st **link = &polling;
    bool progress = false;

    while (*link != NULL) {
        struct CUstream_st *stream = *link;

        if (atomic_load(&stream->ctx->error) == 0 && !sd_work_ready(&stream->head->work)) {
            link = &stream->park_next;
            continue;
        }
        *link = stream->park_next;
        make_ready(stream);
        progress = true;
    }
    return progress;
}

static void *
poller_main(void *arg)
{
    long sleep_ns = POLL_SHORT_NS;

    (void)arg;
    pthread_mutex_lock(&sched_lock);
    for (;;) {
        while (polling == NULL)
            pthread_cond_wait(&poll_cond, &sched_lock);
        if (poll_once())
            sleep_ns = POLL_SHORT_NS;
        else
            sleep_ns = sleep_ns < POLL_LONG_NS ? sleep_ns + sleep_ns / 8 : POLL_LONG_NS;
        pthread_mutex_unlock(&sched_lock);
        nanosleep(&(struct timespec){.tv_nsec = sleep_ns}, NULL);
        pthread_mutex_lock(&sched_lock);
    }
    return NULL;
}

static void
poll_add(struct CUstream_st *stream)
{
    stream->state = SD_STREAM_POLLING;
    stream->park_next = polling;
    polling = stream;
    if (!poller_runs) {
        poller_runs = true;
        (void)sd_thread_start(poller_main);
    }
    pthread_cond_signal(&poll_cond);
}

/* --- running --- */

/* When the model may begin with it: when it was given, or now if it waited for something since. */
static void
clock_reach(const struct sd_op *op)
{
    bool waited = op->dep_count != 0 || op->work.kind == SD_WORK_VALUES;

    if (op->queued_ns != 0)
        sd_work_clock_reach(waited ? gp_now_ns() : op->queued_ns);
}

/* Runs the stream, which the caller has taken (state RUNNING), until nothing more can run or
 * until number stop is done. The lock is held, but not while work runs. */
static void
stream_run(struct CUstream_st *stream, uint64_t stop)
{
    sd_work_clock_set(stream->over_ns);
    for (;;) {
        struct sd_op *op = stream->head;
        uint64_t seq;

        if (op == NULL) {
            stream->state = SD_STREAM_IDLE;
            if (stream->gone)
                stream_free(stream);
            return;
        }
        if (op->seq > stop) {
            make_ready(stream);
            return;
        }
        if (!deps_reached(stream, op))
            return;
        if (op->work.kind == SD_WORK_VALUES && atomic_load(&stream->ctx->error) == 0 &&
            !sd_work_ready(&op->work)) {
            poll_add(stream);
            return;
        }
        pthread_mutex_unlock(&sched_lock);
        clock_reach(op);
        sd_ctx_fail(stream->ctx, sd_work_run(&op->work));
        pthread_mutex_lock(&sched_lock);
        stream->over_ns = sd_work_clock_get();
        seq = op->seq;
        stream->head = op->next;
        if (stream->head == NULL) {
            stream->tail = NULL;
            set_busy(stream, false); /* before anybody can see that the last one is done */
        }
        complete(stream, seq);
        pthread_mutex_unlock(&sched_lock);
        sd_op_free(op);
        pthread_mutex_lock(&sched_lock);
    }
}

static void *
executor_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&sched_lock);
    for (;;) {
        struct CUstream_st *stream = queue_pop();

        if (stream != NULL) {
            stream_run(stream, UINT64_MAX);
            continue;
        }
        /* Work often comes in bursts: look for a moment before sleeping. */
        idle++;
        pthread_mutex_unlock(&sched_lock);
        for (int i = 0; i < SPIN_ROUNDS; i++) {
            if (atomic_load_explicit(&queued, memory_order_relaxed) != 0)
                break;
            cpu_relax();
        }
        pthread_mutex_lock(&sched_lock);
        while (atomic_load_explicit(&queued, memory_order_relaxed) == 0)
            pthread_cond_wait(&sched_cond, &sched_lock);
        idle--;
    }
    return NULL;
}

void
sd_timeline_wait(struct sd_timeline *timeline, uint64_t seq, CUstream stream)
{
    uint32_t wake;

    if (sd_timeline_reached(timeline, seq))
        return;
    if (stream != NULL) {
        pthread_mutex_lock(&sched_lock);
        if (stream->state == SD_STREAM_QUEUED && !sd_timeline_reached(timeline, seq)) {
            queue_remove(stream);
            stream_run(stream, seq);
        }
        pthread_mutex_unlock(&sched_lock);
    }
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (sd_timeline_reached(timeline, seq))
            return;
        cpu_relax();
    }
    atomic_fetch_add(&timeline->sleepers, 1);
    for (;;) {
        wake = atomic_load(&timeline->wake);
        if (atomic_load(&timeline->completed) >= seq)
            break;
        futex_wait(&timeline->wake, wake);
    }
    atomic_fetch_sub(&timeline->sleepers, 1);
}

/* --- submission --- */

/* The lock is held. Another thread may have destroyed a stream since its handle was looked at. */
static bool
stream_there(const struct CUstream_st *stream)
{
    return sd_object_is(stream, SD_STREAM) && !stream->gone;
}

/* What the rule of the legacy stream makes op wait for; the lock is held. */
static CUresult
legacy_deps(struct CUstream_st *stream, struct sd_op *op)
{
    struct CUctx_st *ctx = stream->ctx;
    CUresult cr = CUDA_SUCCESS;

    if (stream->legacy) {
        struct CUstream_st *s = ctx->busy_blocking != 0 ? ctx->streams : NULL;

        for (; s != NULL && cr == CUDA_SUCCESS; s = s->ctx_next)
            if (s != stream && s->busy && (s->flags & CU_STREAM_NON_BLOCKING) == 0)
                cr = sd_op_depend(op, s->timeline, s->submitted);
    } else if ((stream->flags & CU_STREAM_NON_BLOCKING) == 0 && ctx->legacy->busy) {
        cr = sd_op_depend(op, ctx->legacy->timeline, ctx->legacy->submitted);
    }
    return cr;
}

/* What the whole context waits for, and the green one of it; the lock is held. */
static unsigned
gates_of(const struct CUstream_st *stream, const struct CUstream_st *busy[2])
{
    const struct CUstream_st *gates[] = {stream->ctx->gate,
                                         stream->green != NULL ? stream->green->gate : NULL};
    unsigned n = 0;

    if (stream->inside)
        return 0;
    for (unsigned i = 0; i < GP_ARRAY_LEN(gates); i++)
        if (gates[i] != NULL && gates[i]->busy)
            busy[n++] = gates[i];
    return n;
}

static CUresult
gate_deps(const struct CUstream_st *stream, struct sd_op *op)
{
    const struct CUstream_st *gates[2];
    unsigned n = gates_of(stream, gates);
    CUresult cr = CUDA_SUCCESS;

    for (unsigned i = 0; i < n && cr == CUDA_SUCCESS; i++)
        cr = sd_op_depend(op, gates[i]->timeline, gates[i]->submitted);
    return cr;
}

/* True if an operation submitted now would have nothing before it; the lock is held. */
static bool
nothing_before(const struct CUstream_st *stream, const struct sd_op *op)
{
    const struct CUctx_st *ctx = stream->ctx;
    const struct CUstream_st *gates[2];

    if (stream->busy || op->dep_count != 0 || gates_of(stream, gates) != 0)
        return false;
    if (stream->legacy)
        return ctx->busy_blocking == 0;
    return (stream->flags & CU_STREAM_NON_BLOCKING) != 0 || !ctx->legacy->busy;
}

/* The lock is held. */
static CUresult
submit_locked(CUstream stream, struct sd_op *op)
{
    CUresult cr = stream_there(stream) ? legacy_deps(stream, op) : CUDA_ERROR_INVALID_HANDLE;

    if (cr == CUDA_SUCCESS)
        cr = gate_deps(stream, op);
    if (cr != CUDA_SUCCESS)
        return cr;
    op->seq = ++stream->submitted;
    op->queued_ns = sd_work_has_clock(stream->ctx) ? gp_now_ns() : 0;
    op->next = NULL;
    if (op->work.kind == SD_WORK_RECORD) {
        op->work.mark->timeline = sd_timeline_get(stream->timeline);
        op->work.mark->seq = op->seq;
    }
    if (stream->tail != NULL)
        stream->tail->next = op;
    else
        stream->head = op;
    stream->tail = op;
    set_busy(stream, true);
    if (stream->state == SD_STREAM_IDLE)
        make_ready(stream);
    return CUDA_SUCCESS;
}

CUresult
sd_stream_submit(CUstream stream, struct sd_op *op, struct sd_dep *place_p)
{
    CUresult cr;

    if (place_p != NULL)
        place_p->timeline = NULL;
    if (atomic_load_explicit(&stream->capture, memory_order_acquire) != NULL)
        return sd_capture_op(stream, op);
    pthread_mutex_lock(&sched_lock);
    cr = submit_locked(stream, op);
    if (cr == CUDA_SUCCESS && place_p != NULL)
        *place_p = (struct sd_dep){sd_timeline_get(stream->timeline), stream->submitted};
    pthread_mutex_unlock(&sched_lock);
    if (cr != CUDA_SUCCESS)
        sd_op_free(op);
    return cr;
}

bool
sd_stream_try_now(CUstream stream, struct sd_op *op)
{
    bool now;

    if (sd_work_is_timed(&op->work) ||
        atomic_load_explicit(&stream->capture, memory_order_acquire) != NULL)
        return false;
    pthread_mutex_lock(&sched_lock);
    now = stream_there(stream) && nothing_before(stream, op);
    if (now && op->work.kind == SD_WORK_RECORD) {
        op->work.mark->timeline = sd_timeline_get(stream->timeline);
        op->work.mark->seq = stream->submitted;
    }
    pthread_mutex_unlock(&sched_lock);
    if (!now)
        return false;
    sd_work_clock_set(0);
    sd_ctx_fail(stream->ctx, sd_work_run(&op->work));
    sd_op_free(op);
    return true;
}

CUresult
sd_stream_execute(CUstream stream, struct sd_op *op)
{
    struct CUctx_st *ctx = stream->ctx;
    struct sd_dep place;
    CUresult cr;

    if (!sd_stream_try_now(stream, op)) {
        cr = sd_stream_submit(stream, op, &place);
        if (cr != CUDA_SUCCESS || place.timeline == NULL)
            return cr;
        sd_timeline_wait(place.timeline, place.seq, stream);
        sd_timeline_put(place.timeline);
    }
    return (CUresult)atomic_load(&ctx->error);
}

/* --- streams of a context --- */

static _Atomic unsigned long long stream_next_id = 1;

static int
clamped(int priority)
{
    return priority > 0 ? 0 : priority < -(QUEUES - 1) ? -(QUEUES - 1) : priority;
}

void
sd_stream_set_priority(CUstream stream, int priority)
{
    bool waits;

    pthread_mutex_lock(&sched_lock);
    waits = stream->state == SD_STREAM_QUEUED;
    if (waits)
        queue_remove(stream);
    atomic_store(&stream->priority, clamped(priority));
    if (waits)
        queue_push(stream);
    pthread_mutex_unlock(&sched_lock);
}

CUresult
sd_stream_create(struct CUctx_st *ctx, unsigned flags, int priority, CUstream *stream_p)
{
    struct CUstream_st *stream = sd_object_new(SD_STREAM, sizeof(*stream));
    struct sd_timeline *timeline = calloc(1, sizeof(*timeline));

    if (stream == NULL || timeline == NULL) {
        if (stream != NULL)
            sd_object_free(stream);
        free(timeline);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    atomic_init(&timeline->refs, 1);
    stream->ctx = ctx;
    stream->flags = flags;
    stream->priority = clamped(priority);
    stream->id = atomic_fetch_add(&stream_next_id, 1);
    stream->timeline = timeline;
    pthread_mutex_lock(&sched_lock);
    stream->ctx_next = ctx->streams;
    ctx->streams = stream;
    pthread_mutex_unlock(&sched_lock);
    *stream_p = stream;
    return CUDA_SUCCESS;
}

static void stream_free(struct CUstream_st *stream);

CUresult
sd_stream_create_green(struct CUctx_st *ctx, CUgreenCtx green, int priority, CUstream *stream_p)
{
    CUresult cr = sd_stream_create(ctx, CU_STREAM_NON_BLOCKING, priority, stream_p);

    if (cr != CUDA_SUCCESS)
        return cr;
    (*stream_p)->green = green;
    (*stream_p)->green_id = green->id;
    return CUDA_SUCCESS;
}

void
sd_green_drop_streams(CUgreenCtx green)
{
    struct CUstream_st *next;

    pthread_mutex_lock(&sched_lock);
    for (struct CUstream_st *s = green->ctx->streams; s != NULL; s = next) {
        next = s->ctx_next;
        if (s->green != green || s->gone || (!s->inside && s != green->stream))
            continue;
        s->gone = true;
        if (s->state == SD_STREAM_IDLE)
            stream_free(s);
    }
    green->gather = NULL;
    green->gate = NULL;
    pthread_mutex_unlock(&sched_lock);
}

CUresult
sd_ctx_inside(struct CUctx_st *ctx, CUgreenCtx green, CUstream *place, CUstream *stream_p)
{
    CUstream made = NULL;
    CUresult cr;

    pthread_mutex_lock(&sched_lock);
    *stream_p = *place;
    pthread_mutex_unlock(&sched_lock);
    if (*stream_p != NULL)
        return CUDA_SUCCESS;
    cr = sd_stream_create(ctx, CU_STREAM_NON_BLOCKING, 0, &made);
    if (cr != CUDA_SUCCESS)
        return cr;
    made->inside = true;
    made->green = green;
    pthread_mutex_lock(&sched_lock);
    if (*place == NULL) {
        *place = made;
        made = NULL;
    }
    *stream_p = *place;
    pthread_mutex_unlock(&sched_lock);
    if (made != NULL)
        sd_stream_destroy(made);
    return CUDA_SUCCESS;
}

CUresult
sd_op_depend_all(struct sd_op *op, CUgreenCtx green)
{
    CUresult cr = CUDA_SUCCESS;

    pthread_mutex_lock(&sched_lock);
    for (CUstream s = op->work.ctx->streams; s != NULL && cr == CUDA_SUCCESS; s = s->ctx_next)
        if (s->busy && !s->inside && (green == NULL || s->green == green))
            cr = sd_op_depend(op, s->timeline, s->submitted);
    pthread_mutex_unlock(&sched_lock);
    return cr;
}

/* The lock is held; the stream is idle. */
static void
stream_free(struct CUstream_st *stream)
{
    struct CUstream_st **link = &stream->ctx->streams;

    while (*link != NULL && *link != stream)
        link = &(*link)->ctx_next;
    if (*link != NULL)
        *link = stream->ctx_next;
    sd_timeline_put(stream->timeline);
    free(stream->attributes);
    sd_object_free(stream);
}

bool
sd_stream_destroy(CUstream stream)
{
    bool there;

    pthread_mutex_lock(&sched_lock);
    there = stream_there(stream);
    if (there) {
        stream->gone = true;
        if (stream->state == SD_STREAM_IDLE)
            stream_free(stream);
    }
    pthread_mutex_unlock(&sched_lock);
    return there;
}

/* Timelines and numbers that stand for all the stream's work so far; the lock is held.
 * For the legacy stream the blocking ones too. Each costs one reference. */
static size_t
collect(struct CUctx_st *ctx, CUgreenCtx green, const struct CUstream_st *only, struct sd_dep *list,
        size_t max)
{
    size_t n = 0;

    for (struct CUstream_st *s = ctx->streams; s != NULL; s = s->ctx_next) {
        bool wanted =
            only == NULL || s == only || (only->legacy && (s->flags & CU_STREAM_NON_BLOCKING) == 0);

        if (green != NULL)
            wanted = s->green == green;

        if (!wanted || !s->busy)
            continue;
        if (n < max)
            list[n] = (struct sd_dep){sd_timeline_get(s->timeline), s->submitted};
        n++;
    }
    return n;
}

static void
wait_collected(struct CUctx_st *ctx, CUgreenCtx green, CUstream only)
{
    struct sd_dep some[16], *list = some;
    size_t max = GP_ARRAY_LEN(some), n;

    for (;;) {
        pthread_mutex_lock(&sched_lock);
        n = collect(ctx, green, only, list, max);
        pthread_mutex_unlock(&sched_lock);
        if (n <= max)
            break;
        for (size_t i = 0; i < max; i++)
            sd_timeline_put(list[i].timeline);
        if (list != some)
            free(list);
        max = 2 * n;
        list = malloc(max * sizeof(*list));
        if (list == NULL) { /* wait with what we have, again and again */
            list = some;
            max = GP_ARRAY_LEN(some);
            sched_yield();
        }
    }
    for (size_t i = 0; i < n; i++) {
        sd_timeline_wait(list[i].timeline, list[i].seq, NULL);
        sd_timeline_put(list[i].timeline);
    }
    if (list != some)
        free(list);
}

void
sd_stream_wait_all(CUstream stream)
{
    struct sd_timeline *line = NULL;
    uint64_t seq = 0;

    if (stream->legacy) {
        wait_collected(stream->ctx, NULL, stream);
        return;
    }
    pthread_mutex_lock(&sched_lock);
    if (stream_there(stream) && stream->busy) {
        seq = stream->submitted;
        line =
            sd_timeline_get(stream->timeline); /* another thread may destroy the stream meanwhile */
    }
    pthread_mutex_unlock(&sched_lock);
    if (line == NULL)
        return;
    sd_timeline_wait(line, seq, stream);
    sd_timeline_put(line);
}

bool
sd_stream_all_done(CUstream stream)
{
    bool done;

    pthread_mutex_lock(&sched_lock);
    done = !stream->busy && (!stream->legacy || stream->ctx->busy_blocking == 0);
    pthread_mutex_unlock(&sched_lock);
    return done;
}

void
sd_ctx_wait_all(struct CUctx_st *ctx)
{
    wait_collected(ctx, NULL, NULL);
}

void
sd_green_wait_all(CUgreenCtx green)
{
    wait_collected(green->ctx, green, NULL);
}

void
sd_ctx_free_streams(struct CUctx_st *ctx)
{
    pthread_mutex_lock(&sched_lock);
    while (ctx->events != NULL) {
        struct CUevent_st *event = ctx->events;

        ctx->events = event->ctx_next;
        sd_mark_put(event->mark);
        event->mark = NULL;
        if (event->shared != NULL)
            sd_shared_event_free(event->shared);
        sd_object_free(event);
    }
    while (ctx->streams != NULL) {
        struct CUstream_st *stream = ctx->streams;

        if (stream->state != SD_STREAM_IDLE) {
            /* An executor is about to put it to rest. */
            pthread_mutex_unlock(&sched_lock);
            sched_yield();
            pthread_mutex_lock(&sched_lock);
            continue;
        }
        stream_free(stream);
    }
    ctx->legacy = NULL;
    ctx->gather = NULL;
    ctx->gate = NULL;
    ctx->busy_blocking = 0;
    pthread_mutex_unlock(&sched_lock);
}
