/* tests/integration/test_shares.c -- the device's time, divided among tenants by the real daemon
 *
 * Kernels are long, so that a machine with few and busy processors does not decide the result; what
 * the scheduler makes of short ones and of wrong estimates is in tests/unit/sched, on its own
 * clock. The software device has a timing model under which kernels occupy it for a modelled time,
 * across processes. Each client is a process that always has launches under way; what it got done
 * is counted in shared memory, and only what happens between two looks at the counters counts.
 *
 * On a machine with other work the clients and workers may not be given the processors they need to
 * keep the device busy, and then the shares are not theirs to divide. The kernel knows how long
 * they waited for a processor: an attempt that fails while they did decides nothing, and is made
 * again.
 */
#include "tests/support/tenants.h"

#include "protocol/base/clock.h"
#include "protocol/wire/kernel_table.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS_MAX 3
#define ROW         1
#define DEPTH       8 /* rows under way */
#define LATENCIES   4096

/* Threads of a kernel at a rate of a million each second: microseconds. */
#define RATE "1000000"

static const char kernel[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                             ".visible .entry k()\n{\nret;\n}\n";

struct board {
    atomic_uint_least64_t done_us[CLIENTS_MAX]; /* of kernels, finished */
    atomic_uint ready;
    atomic_uint_least64_t latency_us[LATENCIES];
    atomic_uint latencies;
    uint64_t last_us[CLIENTS_MAX];
};

struct client {
    const char *name;
    uint32_t kernel_us;
    /* 0: always busy; else so many kernels, then a pause, as a request each. */
    unsigned request;
    unsigned pause_us;
};

static struct board *board;

static struct test_server
server_start(const char *config)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(board, MAP_FAILED);
    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_THREAD_RATE", RATE, 1);
    setenv("GPUPOOL_SOFT_INSTANT", "yes", 1);
    return test_tenants_start(config);
}

/* -- a client, in a process of its own ----------------------------------------------------------
 */

static void
launch(struct test_client *c, uint32_t row, uint32_t us)
{
    TEST_ADD(c, cuLaunchKernelEx, .function = wire_function_id(false, ID(1), row),
             .grid = {(us + 99) / 100, 1, 1}, .block = {us < 100 ? us : 100, 1, 1},
             .stream = ID(1));
}

static void
busy(struct test_client *c, const struct client *with, unsigned index, uint32_t row)
{
    uint32_t tags[DEPTH] = {0};

    /* Several rows under way, so that it is always wanting more, however slow this process is
     * woken; a row counts when its stream got there. */
    for (unsigned turn = 0;; turn++) {
        if (turn >= DEPTH) {
            /* Replies come in this order, several at once too. */
            while ((int32_t)(c->reply_tag - tags[turn % DEPTH]) < 0)
                if (!test_client_receive(c, gp_now_ns() + 20 * GP_NS_PER_S))
                    _exit(3);
            atomic_fetch_add(&board->done_us[index], (uint64_t)ROW * with->kernel_us);
        }
        for (int i = 0; i < ROW; i++)
            launch(c, row, with->kernel_us);
        TEST_ADD(c, cuStreamSynchronize, .stream = ID(1));
        test_client_send(c);
        tags[turn % DEPTH] = c->tags;
    }
}

static void
requests(struct test_client *c, const struct client *with, unsigned index, uint32_t row)
{
    for (;;) {
        uint64_t began;
        unsigned n;

        poll(NULL, 0, (int)(with->pause_us / 1000));
        began = gp_now_ns();
        for (unsigned i = 0; i < with->request; i++)
            launch(c, row, with->kernel_us);
        TEST_ADD(c, cuStreamSynchronize, .stream = ID(1));
        if (test_client_call(c) != CUDA_SUCCESS)
            _exit(3);
        n = atomic_load(&board->latencies) % LATENCIES;
        atomic_store(&board->latency_us[n], (gp_now_ns() - began) / 1000);
        atomic_fetch_add(&board->latencies, 1);
        atomic_fetch_add(&board->done_us[index], (uint64_t)with->request * with->kernel_us);
    }
}

/* A session with a stream and the kernel, whose row it is. */
static uint32_t
begin(struct test_client *c, const struct test_server *server, const char *name)
{
    if (!test_tenants_try(c, server, name))
        _exit(1);
    TEST_ADD(c, cuDevicePrimaryCtxRetain, .device = 0, .context = ID(1));
    c->context = 1;
    TEST_ADD(c, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    if (test_client_module(c, ID(1), kernel) != CUDA_SUCCESS)
        _exit(2);
    return (uint32_t)test_client_kernel(c, "k");
}

static void
client_main(const struct test_server *server, const struct client *with, unsigned index)
{
    struct test_client c;
    uint32_t row = begin(&c, server, with->name);

    atomic_fetch_add(&board->ready, 1);
    if (with->request == 0)
        busy(&c, with, index, row);
    else
        requests(&c, with, index, row);
}

/* -- whether they got the processors ------------------------------------------------------------
 */

#define PROCESSES_MAX 64
#define STARVED_PART  10 /* of the time: it waited for a processor for so long */

/* Nanoseconds that the threads of a process were ready and did not run. */
static uint64_t
waited_ns(pid_t pid)
{
    char path[320];
    uint64_t sum = 0;
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        unsigned long long ran, waited;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, entry->d_name);
        file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (file == NULL)
            continue;
        if (fscanf(file, "%llu %llu", &ran, &waited) == 2)
            sum += waited;
        fclose(file);
    }
    if (dir != NULL)
        closedir(dir);
    return sum;
}

static struct {
    pid_t pids[PROCESSES_MAX];
    uint64_t before[PROCESSES_MAX], began_ns;
    size_t count;
    bool starved; /* while it was measured last */
} processors;

static void
processors_begin(const struct test_server *server, const pid_t *clients, unsigned count)
{
    processors.count = test_server_workers(server, processors.pids, PROCESSES_MAX - CLIENTS_MAX);
    for (unsigned i = 0; i < count; i++)
        processors.pids[processors.count++] = clients[i];
    for (size_t i = 0; i < processors.count; i++)
        processors.before[i] = waited_ns(processors.pids[i]);
    processors.began_ns = gp_now_ns();
}

static void
processors_end(void)
{
    uint64_t took = gp_now_ns() - processors.began_ns, most = 0;

    for (size_t i = 0; i < processors.count; i++) {
        uint64_t waited = waited_ns(processors.pids[i]);

        if (waited > processors.before[i] && waited - processors.before[i] > most)
            most = waited - processors.before[i];
    }
    processors.starved = most > took / STARVED_PART;
    cr_log_info("one waited for a processor for %.0f %% of the time",
                100.0 * (double)most / (double)took);
}

#define TRIES 3
#define MOST  8 /* with those that decide nothing */

/* Until it is good, or has failed so often; on a machine that lets nothing be decided nothing is.
 */
static void
try_shares(bool (*good)(void))
{
    unsigned failed = 0;

    for (unsigned i = 0; i < MOST && failed < TRIES; i++) {
        if (good())
            return;
        failed += !processors.starved;
    }
    if (failed < TRIES)
        cr_skip_test("the processors are too busy to keep the device busy");
    cr_assert_fail("as the log says");
}

/* Let them work together for a while; last_us is what each got in the given time. */
static void
together(const char *config, const struct client *clients, unsigned count, unsigned warm_ms,
         unsigned ms)
{
    struct test_server server = server_start(config);
    uint64_t before[CLIENTS_MAX];
    pid_t pids[CLIENTS_MAX];

    for (unsigned i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            client_main(&server, &clients[i], i);
        cr_assert_geq(pids[i], 0);
    }
    for (int i = 0; atomic_load(&board->ready) < count; i++) {
        cr_assert_lt(i, 4000);
        poll(NULL, 0, 5);
    }
    /* Time itself is what is measured here. */
    poll(NULL, 0, (int)warm_ms);
    processors_begin(&server, pids, count);
    for (unsigned i = 0; i < count; i++)
        before[i] = atomic_load(&board->done_us[i]);
    atomic_store(&board->latencies, 0);
    poll(NULL, 0, (int)ms);
    for (unsigned i = 0; i < count; i++)
        board->last_us[i] = atomic_load(&board->done_us[i]) - before[i];
    processors_end();
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(waitpid(pids[i], NULL, WNOHANG), 0, "client %u ended early", i);
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    test_tenants_stop(&server);
}

/* The part of the clients' time that the first one had. */
static double
first_part(const char *config, const struct client *clients)
{
    together(config, clients, 2, 4000, 4000); /* what was queued while alone is over */
    return (double)board->last_us[0] / (double)(board->last_us[0] + board->last_us[1]);
}

static bool
near(double value, double wanted, double within)
{
    cr_log_info("%.3f, wanted %.2f", value, wanted);
    return value >= wanted - within && value <= wanted + within;
}

static const struct client both[] = {{.name = "alice", .kernel_us = 40000},
                                     {.name = "bob", .kernel_us = 40000}};

static bool
thirty(void)
{
    return near(first_part("[tenant \"a\"]\nmatch = cn:alice\nshare = 30\n"
                           "[tenant \"b\"]\nmatch = cn:bob\nshare = 70\n",
                           both),
                0.30, 0.05);
}

Test(shares, thirty_and_seventy)
{
    try_shares(thirty);
}

static bool
ten(void)
{
    return near(first_part("[tenant \"a\"]\nmatch = cn:alice\nshare = 10\n"
                           "[tenant \"b\"]\nmatch = cn:bob\nshare = 90\n",
                           both),
                0.10, 0.05);
}

Test(shares, ten_and_ninety)
{
    try_shares(ten);
}

static bool
quarter(void)
{
    together("[tenant \"a\"]\nmatch = cn:alice\nshare = 25\npolicy = force\n", both, 1, 1000, 5000);
    return near((double)board->last_us[0] / 5e6, 0.25, 0.05);
}

Test(shares, a_forced_quarter_alone)
{
    try_shares(quarter);
}

static bool
lent(void)
{
    static const struct client clients[] = {
        {.name = "alice", .kernel_us = 40000},
        {.name = "bob", .kernel_us = 40000, .request = 1, .pause_us = 1000000}};

    together("[tenant \"a\"]\nmatch = cn:alice\nshare = 10\n"
             "[tenant \"b\"]\nmatch = cn:bob\nshare = 90\n",
             clients, 2, 1000, 3000);
    return near((double)board->last_us[0] / 3e6, 0.85, 0.15);
}

Test(shares, what_nobody_else_wants_is_lent)
{
    try_shares(lent);
}

/* Queues far more than it could ever run, and waits for none of it. */
static void
flood_main(const struct test_server *server)
{
    static const struct client with = {.name = "alice", .kernel_us = 20000};
    struct test_client c;
    uint32_t row = begin(&c, server, with.name);

    launch(&c, row, with.kernel_us);
    TEST_ADD(&c, cuStreamSynchronize, .stream = ID(1));
    if (test_client_call(&c) != CUDA_SUCCESS)
        _exit(3);
    for (int i = 0; i < 2000; i++)
        launch(&c, row, with.kernel_us);
    test_client_send(&c);
    atomic_fetch_add(&board->ready, 1);
    for (;;)
        (void)pause();
}

static bool
flooded(void)
{
    static const struct client second = {.name = "bob", .kernel_us = 20000};
    struct test_server server = server_start("[tenant \"a\"]\nmatch = cn:alice\nshare = 10\n"
                                             "[tenant \"b\"]\nmatch = cn:bob\nshare = 90\n");
    uint64_t before, got;
    pid_t pids[2];

    pids[0] = fork();
    if (pids[0] == 0)
        flood_main(&server);
    for (int i = 0; atomic_load(&board->ready) < 1; i++) {
        cr_assert_lt(i, 4000);
        poll(NULL, 0, 5);
    }
    pids[1] = fork();
    if (pids[1] == 0)
        client_main(&server, &second, 1);
    for (int i = 0; atomic_load(&board->done_us[1]) < 200000; i++) {
        cr_assert_lt(i, 3000);
        poll(NULL, 0, 5);
    }
    poll(NULL, 0, 1000); /* time itself is what is measured here */
    processors_begin(&server, pids, 2);
    before = atomic_load(&board->done_us[1]);
    poll(NULL, 0, 3000);
    got = atomic_load(&board->done_us[1]) - before;
    processors_end();
    for (int i = 0; i < 2; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    cr_log_info("%.2f s of 3", (double)got / 1e6);
    test_tenants_stop(&server);
    return got > 2100000;
}

/* It has queued 40 s of work when the other one comes, whose device it is but for a tenth. */
Test(shares, who_came_first_has_not_taken_the_device_for_long)
{
    try_shares(flooded);
}

static int
by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static uint64_t
median_us(void)
{
    static uint64_t list[LATENCIES];
    unsigned count = atomic_load(&board->latencies);

    cr_assert(count > 5 && count < LATENCIES, "%u", count);
    for (unsigned i = 0; i < count; i++)
        list[i] = atomic_load(&board->latency_us[i]);
    qsort(list, count, sizeof(list[0]), by_size);
    return list[count / 2];
}

static bool
hardly(void)
{
    static const struct client clients[] = {
        {.name = "alice", .kernel_us = 1000, .request = 40, .pause_us = 20000},
        {.name = "bob", .kernel_us = 500}};
    static const char config[] = "[tenant \"a\"]\nmatch = cn:alice\npriority = high\n"
                                 "[tenant \"b\"]\nmatch = cn:bob\npriority = low\n";
    bool starved;
    uint64_t alone, beside;

    together(config, clients, 1, 500, 2000);
    starved = processors.starved;
    alone = median_us();
    together(config, clients, 2, 1000, 3000);
    processors.starved = processors.starved || starved;
    beside = median_us();
    cr_log_info("median %llu us alone, %llu us beside; the lower one had %.2f s of 3",
                (unsigned long long)alone, (unsigned long long)beside,
                (double)board->last_us[1] / 1e6);
    /* In turns with it, it would take twice as long. */
    return beside <= alone + alone / 3 && board->last_us[1] >= 300000;
}

Test(shares, a_higher_class_hardly_notices_a_lower_one)
{
    try_shares(hardly);
}
