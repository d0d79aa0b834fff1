/* frontend/cuda/fault.c */
#include "frontend/cuda/fault.h"

#include "frontend/core/futex.h"
#include "frontend/core/line.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/interpose.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <pthread.h>
#include <string.h>
#include <sys/types.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE_FAULT_WRITE 2 /* of the error code that the processor pushes */
#define ASK_MIN_NS       (30 * GP_NS_PER_US)
#define ASK_MAX_NS       (1 * GP_NS_PER_MS)

/* On the stack of the thread that waits. */
struct request {
    struct request *next;
    uint64_t address;
    bool write, served;
    bool patient;          /* may wait for the device */
    _Atomic uint32_t done; /* futex; release by the serving thread, after served */
};

static struct {
    _Atomic(struct request *) first; /* newest; taken as a whole */
    _Atomic uint32_t bell;           /* futex of the serving thread */
    _Atomic bool pump_due;
    _Atomic pid_t pid; /* set once, before any page is protected */

    /* The program's own action: a place to read without a lock, and one to write the next. */
    struct sigaction theirs[2];
    _Atomic unsigned now;
} fault;

static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t action_lock = PTHREAD_MUTEX_INITIALIZER;
static CUresult started;
/* Work may wait for this thread, which is ours. */
static __thread bool awaited __attribute__((tls_model("initial-exec")));

/* Touches that wait for kernels: the serving thread's. */
static struct {
    struct request *first;
    uint64_t since, ask_at, ask_ns;
    uint64_t patience_ns; /* how long the next ones wait; less after each that waited in vain */
} held;

/* --- serving -------------------------------------------------------------------- */

static void
ring(void)
{
    atomic_fetch_add_explicit(&fault.bell, 1, memory_order_release);
    fe_futex_wake(&fault.bell);
}

void
fe_fault_ring(void)
{
    atomic_store(&fault.pump_due, true);
    ring();
}

static void
finish(struct request *r)
{
    r->served = fe_coherent_resolve(r->address, r->write);
    /* From here on r may be gone; a wake-up too many does no harm. */
    atomic_store_explicit(&r->done, 1, memory_order_release);
    fe_futex_wake(&r->done);
}

static void
serve_all(void)
{
    struct request *r = atomic_exchange_explicit(&fault.first, NULL, memory_order_acquire), *next;

    for (; r != NULL; r = next) {
        next = r->next;
        if (!r->patient || held.patience_ns == 0 || fe_coherent_settled(r->address)) {
            finish(r);
            continue;
        }
        if (held.first == NULL) {
            held.since = gp_now_ns();
            held.ask_ns = ASK_MIN_NS;
            held.ask_at = held.since + held.ask_ns;
        }
        r->next = held.first;
        held.first = r;
    }
}

/* Others are served meanwhile: what is waited for may wait for a host function that touches such
 * memory. When to come again, 0: nothing waits. */
static uint64_t
serve_held(void)
{
    uint64_t now = gp_now_ns(), most = fe_sessions()->list[0]->managed_wait_ns;
    struct request *r = held.first, *next;

    if (r == NULL || now < held.ask_at)
        return r == NULL ? 0 : held.ask_at;
    if (now - held.since > held.patience_ns) {
        fe_coherent_impatient();
        held.patience_ns /= 4;
    }
    for (held.first = NULL; r != NULL; r = next) {
        next = r->next;
        if (fe_coherent_settled(r->address)) {
            finish(r);
            continue;
        }
        r->next = held.first;
        held.first = r;
    }
    if (held.first == NULL && now - held.since <= held.patience_ns)
        held.patience_ns = gp_min_u64(held.patience_ns * 2, most);
    held.ask_ns = gp_min_u64(held.ask_ns * 2, ASK_MAX_NS);
    held.ask_at = gp_now_ns() + held.ask_ns;
    return held.first == NULL ? 0 : held.ask_at;
}

static void *
serve(void *unused)
{
    uint64_t pump_at = 0, held_at; /* 0: not */

    (void)unused;
    for (;;) {
        uint32_t bell = atomic_load_explicit(&fault.bell, memory_order_acquire);
        uint64_t now, wait, at;

        serve_all();
        held_at = serve_held();
        now = gp_now_ns();
        if (atomic_exchange(&fault.pump_due, false) && pump_at == 0)
            pump_at = now;
        if (pump_at != 0 && now >= pump_at) {
            wait = fe_coherent_pump();
            pump_at = wait != 0 ? gp_now_ns() + wait : 0;
        }
        now = gp_now_ns();
        at = pump_at == 0 || held_at == 0 ? pump_at + held_at : gp_min_u64(pump_at, held_at);
        if (at != 0 && now >= at)
            continue;
        fe_futex_wait(&fault.bell, bell, at != 0 ? at - now : 0);
    }
    return NULL;
}

/* --- the handler ------------------------------------------------------------------ */

/* In the thread that faulted. */
static bool
ask(uint64_t address, bool write)
{
    struct request r = {.address = address, .write = write, .patient = !awaited};

    if (fe_coherent_inside())
        return false;
    if (getpid() != fault.pid)
        return fe_coherent_orphan(address);
    r.next = atomic_load_explicit(&fault.first, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&fault.first, &r.next, &r, memory_order_release,
                                                  memory_order_relaxed))
        ;
    ring();
    while (atomic_load_explicit(&r.done, memory_order_acquire) == 0)
        fe_futex_wait(&r.done, 0, 0);
    return r.served;
}

/* As if the program's action were the system's. */
static void
chain(int number, siginfo_t *info, void *context)
{
    const struct sigaction *act =
        &fault.theirs[atomic_load_explicit(&fault.now, memory_order_acquire) & 1];
    struct sigaction none;
    sigset_t before;

    if ((act->sa_flags & SA_SIGINFO) == 0 &&
        (act->sa_handler == SIG_DFL || act->sa_handler == SIG_IGN)) {
        /* Back to the instruction, which ends the process as it would have without us. */
        memset(&none, 0, sizeof(none));
        none.sa_handler = SIG_DFL;
        (void)sigaction(number, &none, NULL);
        if (info->si_code <= 0) /* sent by somebody, there is no instruction */
            (void)raise(number);
        return;
    }
    pthread_sigmask(SIG_BLOCK, &act->sa_mask, &before);
    if (act->sa_flags & SA_SIGINFO)
        act->sa_sigaction(number, info, context);
    else
        act->sa_handler(number);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
    const ucontext_t *at = context;
    bool write = (at->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_WRITE) != 0;
    int keep = errno;

    if (info->si_code != SEGV_ACCERR || !ask((uint64_t)(uintptr_t)info->si_addr, write))
        chain(number, info, context);
    errno = keep;
}

/* --- whose handler ------------------------------------------------------------------ */

static void
keep_theirs(const struct sigaction *act)
{
    unsigned next = atomic_load_explicit(&fault.now, memory_order_relaxed) + 1;

    fault.theirs[next & 1] = *act;
    atomic_store_explicit(&fault.now, next, memory_order_release);
}

/* Under action_lock. */
static void
install(void)
{
    struct sigaction ours, before;

    memset(&ours, 0, sizeof(ours));
    ours.sa_sigaction = on_fault;
    /* Not deferred: the program's handler may touch such memory itself. */
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
    if (sigaction(SIGSEGV, &ours, &before) != 0)
        log_error("cannot handle page faults: %m");
    else if ((before.sa_flags & SA_SIGINFO) == 0 || before.sa_sigaction != on_fault)
        keep_theirs(&before);
}

int
fe_fault_sigaction(const struct sigaction *act, struct sigaction *old)
{
    pthread_mutex_lock(&action_lock);
    if (old != NULL)
        *old = fault.theirs[atomic_load_explicit(&fault.now, memory_order_relaxed) & 1];
    if (act != NULL)
        keep_theirs(act);
    pthread_mutex_unlock(&action_lock);
    return 0;
}

void
fe_fault_check(void)
{
    struct sigaction now;

    fe_interpose();
    if (sigaction(SIGSEGV, NULL, &now) != 0 ||
        ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault))
        return;
    pthread_mutex_lock(&action_lock);
    install();
    pthread_mutex_unlock(&action_lock);
}

static void
unblock(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void
fe_fault_allow(void)
{
    awaited = true;
    unblock();
}

static void
start(void)
{
    fault.pid = getpid();
    held.patience_ns = fe_sessions()->list[0]->managed_wait_ns;
    fe_coherent_forks();
    if (fe_thread_create("gpupool-page", serve, NULL) != GP_OK) {
        started = CUDA_ERROR_OUT_OF_MEMORY;
        return;
    }
    pthread_mutex_lock(&action_lock);
    install();
    pthread_mutex_unlock(&action_lock);
    unblock();
    fe_interpose();
}

CUresult
fe_fault_start(void)
{
    pthread_once(&start_once, start);
    return started;
}
