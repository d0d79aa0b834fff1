/* frontend/core/line.c */
#include "frontend/core/line.h"

#include "frontend/core/futex.h"
#include "frontend/core/perf.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/link/link.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned
cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

/* How long a wait looks before it sleeps: a wake-up costs some 60 us where there are cores to
 * spare, and somebody else's turn where there are not. */
static uint32_t
spin_us(void)
{
    unsigned n = cores();

    if (!fe_perf(FE_PERF_SPIN) || n < 2)
        return 0;
    return n < 4 ? 20 : 60;
}

static bool
submit_init(struct fe_submit *sub, size_t payload_max)
{
    unsigned i;

    if (pthread_mutex_init(&sub->lock, NULL) != 0 || pthread_cond_init(&sub->room, NULL) != 0)
        return false;
    for (i = 0; i < GP_ARRAY_LEN(sub->batch); i++) {
        void *bytes = mmap(NULL, FE_BATCH_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (bytes == MAP_FAILED)
            return false;
        sub->batch[i].bytes = bytes;
        sub->batch[i].len = WIRE_FRAME_HEADER_BYTES;
    }
    sub->slots = calloc(FE_SLOTS, sizeof(*sub->slots));
    sub->payload_max = gp_min_u64(payload_max, WIRE_FRAME_PAYLOAD_DEFAULT);
    sub->pong_len = UINT32_MAX;
    return sub->slots != NULL;
}

static void
line_destroy(struct fe_line *l)
{
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(l->submit.batch); i++)
        if (l->submit.batch[i].bytes != NULL)
            munmap(l->submit.batch[i].bytes, FE_BATCH_BYTES);
    free(l->submit.slots);
    if (l->recv.poke_fd >= 0)
        close(l->recv.poke_fd);
    tp_close(l->lane);
    free(l);
}

static enum gp_status
survive(struct fe_line *l, const struct fe_resume *resume)
{
    struct tp_link_opts opts = {.changed = fe_resume_changed, .user = l};
    struct tp_lane *lane = l->lane;

    l->resume.grace_ns = resume->grace_ns;
    l->resume.session_id = resume->session_id;
    memcpy(l->resume.key, resume->key, sizeof(l->resume.key));
    l->lane = NULL;
    return tp_link_wrap(lane, &opts, &l->lane);
}

enum gp_status
fe_line_create(struct fe_session *s, struct tp_lane *lane, size_t payload_max,
               uint32_t heartbeat_ms, const struct fe_resume *resume, struct fe_line **line_p)
{
    struct fe_line *l = calloc(1, sizeof(*l));
    enum gp_status status;

    if (l == NULL) {
        tp_close(lane);
        return GP_ERR_NO_MEMORY;
    }
    l->lane = lane;
    l->session = s;
    l->heartbeat_ns = heartbeat_ms * GP_NS_PER_MS;
    l->spin_us = spin_us();
    l->recv.heard_ns = gp_now_ns();
    l->recv.poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->recv.poke_fd < 0 || !submit_init(&l->submit, payload_max) ||
        pthread_mutex_init(&l->recv.lock, NULL) != 0) {
        line_destroy(l);
        return GP_ERR_NO_MEMORY;
    }
    status = resume->grace_ns != 0 ? survive(l, resume) : GP_OK;
    if (status != GP_OK) {
        line_destroy(l);
        return status;
    }
    tp_set_spin(l->lane, l->spin_us);
    *line_p = l;
    return GP_OK;
}

enum gp_status
fe_thread_create(const char *name, void *(*fn)(void *), void *arg)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    if (pthread_attr_init(&attr) != 0)
        return GP_ERR_NO_MEMORY;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's signals are not for us */
    rc = pthread_create(&thread, &attr, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        log_error("thread %s: %s", name, strerror(rc));
        return GP_ERR_NO_MEMORY;
    }
    (void)pthread_setname_np(thread, name);
    return GP_OK;
}

enum gp_status
fe_line_start(struct fe_line *l)
{
    enum gp_status status = fe_thread_create("gpupool-send", fe_submit_thread, l);

    if (status == GP_OK)
        status = fe_thread_create("gpupool-recv", fe_receive_thread, l);
    return status;
}

void
fe_line_end(struct fe_line *l)
{
    struct fe_receive *r = &l->recv;
    struct fe_waiter *w;

    atomic_store_explicit(&l->over, true, memory_order_release);
    tp_shutdown(l->lane);
    atomic_fetch_add_explicit(&l->resume.bell, 1, memory_order_relaxed);
    fe_futex_wake(&l->resume.bell);

    pthread_mutex_lock(&l->submit.lock);
    pthread_cond_broadcast(&l->submit.room);
    atomic_fetch_add_explicit(&l->submit.bell, 1, memory_order_relaxed);
    pthread_mutex_unlock(&l->submit.lock);
    fe_futex_wake(&l->submit.bell);

    pthread_mutex_lock(&r->lock);
    for (w = r->first; w != NULL; w = w->next) {
        atomic_store_explicit(&w->word, 1, memory_order_release);
        fe_futex_wake(&w->word);
    }
    r->parked = false;
    atomic_fetch_add_explicit(&r->bell, 1, memory_order_relaxed);
    pthread_mutex_unlock(&r->lock);
    fe_futex_wake(&r->bell);
}
