/* tests/unit/frontend/test_session.c -- how a session begins and ends */
#include "fake.h"

#include "frontend/core/call.h"
#include "frontend/core/connect.h"
#include "frontend/core/data.h"
#include "protocol/wire/frame.h"
#include "transport/link/link.h"
#include "frontend/core/line.h"
#include "protocol/base/clock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SECOND GP_NS_PER_S

static CUresult
barrier(void)
{
    const uint8_t *bytes;
    struct fe_call call;
    size_t len;
    CUresult cr = fe_enter(&call, WIRE_CALL_gpBarrier);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (fe_post(&call, 0) == NULL)
        return fe_leave(&call, fe_lost(&call));
    fe_post_done(&call);
    return fe_leave(&call, fe_wait(&call, &bytes, &len));
}

static CUresult
post_done_notice(uint32_t tag)
{
    struct wire_gpHostDone_args args = {.tag = tag};
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_gpHostDone);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(&call, wire_size_gpHostDone_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_gpHostDone_args(to, &args);
    fe_post_done(&call);
    return fe_leave(&call, CUDA_SUCCESS);
}

/* --- opening ------------------------------------------------------------------------ */

Test(session, shows_what_the_server_told_and_reserves_its_addresses)
{
    struct fe_session *s;
    struct fake f;

    fake_start(&f, &(struct fake_opts){.devices = 3, .host_bytes = 1 << 20});
    cr_assert_null(fe_session_get(NULL));
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(fe_start(), CUDA_SUCCESS, "cuInit may be repeated");
    s = fe_session_get(NULL);
    cr_assert_eq(s->device_count, 3);
    cr_assert_str_eq(s->devices[2].info->name, "device 2");
    cr_assert_eq(s->driver_version, 13000);
    cr_assert_str_eq(s->server, "fake");
    cr_assert_eq(s->device_range.base, 0x551000000000);
    cr_assert_not(fe_reserve(&s->device_range), "it is taken now");
    cr_assert_not(fe_reserve(&s->host_range));
    fake_stop(&f);
    cr_assert_eq(f.opens, 1);
}

static void *
start(void *unused)
{
    (void)unused;
    return (void *)(uintptr_t)fe_start();
}

Test(session, is_one_however_many_threads_start_it)
{
    pthread_t threads[8];
    struct fake f;
    void *result;
    int i;

    fake_start(&f, NULL);
    for (i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, start, NULL);
    for (i = 0; i < 8; i++) {
        pthread_join(threads[i], &result);
        cr_assert_null(result);
    }
    fake_stop(&f);
    cr_assert_eq(f.opens, 1);
}

Test(session, asks_for_other_addresses_when_these_are_in_use)
{
    struct wire_range taken = {0x551000000000, 4096};
    struct fe_session *s;
    struct fake f;

    cr_assert(fe_reserve(&taken));
    fake_start(&f, NULL);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    s = fe_session_get(NULL);
    cr_assert_neq(s->device_range.base, taken.base);
    cr_assert_eq(s->device_range.base, f.last_hint);
    cr_assert_not(fe_reserve(&s->device_range));
    fake_stop(&f);
    cr_assert_eq(f.opens, 2);
    cr_assert_eq(f.bye, WIRE_CODE_OK, "the first is not kept for a lost client");
}

Test(session, uses_the_next_server_when_the_first_is_not_there)
{
    char list[160];
    struct fake f;

    fake_start(&f, NULL);
    snprintf(list, sizeof(list), "tcp://127.0.0.1:1,%s", f.url);
    setenv("GPUPOOL_SERVER", list, 1);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    fake_stop(&f);
}

Test(session, obeys_cuda_visible_devices)
{
    struct fe_session *s;
    struct fake f;

    fake_start(&f, &(struct fake_opts){.devices = 4});
    setenv("CUDA_VISIBLE_DEVICES", "3,1", 1);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    s = fe_session_get(NULL);
    cr_assert_eq(s->device_count, 2);
    cr_assert_eq(s->devices[0].server_ordinal, 3);
    cr_assert_str_eq(s->devices[1].info->name, "device 1");
    fake_stop(&f);
}

/* --- not opening: the fitting code, one line, in time ----------------------------------- */

static void
expect_failure(CUresult wanted)
{
    uint64_t begin = gp_now_ns();
    CUresult cr = fe_start();

    cr_assert_eq(cr, wanted, "got %d", (int)cr);
    cr_assert_lt(gp_now_ns() - begin, 5 * SECOND);
    begin = gp_now_ns();
    cr_assert_eq(fe_start(), wanted);
    cr_assert_lt(gp_now_ns() - begin, SECOND / 2, "the second try is answered from memory");
    cr_assert_null(fe_session_get(&cr));
    cr_assert_eq(cr, CUDA_ERROR_NOT_INITIALIZED);
}

Test(session, needs_a_server_to_be_named)
{
    setenv("HOME", "/nonexistent", 1);
    unsetenv("GPUPOOL_SERVER");
    unsetenv("GPUPOOL_CONFIG");
    expect_failure(CUDA_ERROR_NO_DEVICE);
}

Test(session, finds_no_device_where_nobody_listens)
{
    setenv("GPUPOOL_SERVER", "tcp://127.0.0.1:1", 1);
    setenv("HOME", "/nonexistent", 1);
    expect_failure(CUDA_ERROR_NO_DEVICE);
}

Test(session, gives_up_on_a_silent_server_within_five_seconds, .timeout = 20)
{
    struct fake f;

    fake_start(&f, &(struct fake_opts){.silent = true});
    expect_failure(CUDA_ERROR_NO_DEVICE);
    fake_stop(&f);
}

Test(session, with_another_wire_format_is_a_driver_mismatch)
{
    struct fake f;

    fake_start(&f, &(struct fake_opts){.wire_format = 99});
    expect_failure(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
    fake_stop(&f);
}

Test(session, that_is_refused_says_so_with_the_fitting_code)
{
    struct fake f;

    fake_start(&f, &(struct fake_opts){.refuse = WIRE_CODE_BUSY});
    expect_failure(CUDA_ERROR_DEVICE_UNAVAILABLE);
    fake_stop(&f);
    cr_assert_eq(fe_connect_refusal(WIRE_CODE_NOT_ALLOWED), CUDA_ERROR_NOT_PERMITTED);
    cr_assert_eq(fe_connect_refusal(WIRE_CODE_DRIVER), CUDA_ERROR_SYSTEM_NOT_READY);
    cr_assert_eq(fe_connect_refusal(12345), CUDA_ERROR_NO_DEVICE);
    cr_assert_eq(fe_connect_result(GP_ERR_AUTH), CUDA_ERROR_NOT_PERMITTED);
}

Test(session, without_a_visible_device_is_none)
{
    struct fake f;

    fake_start(&f, NULL);
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    expect_failure(CUDA_ERROR_NO_DEVICE);
    fake_stop(&f);
}

/* --- the end ----------------------------------------------------------------------------- */

/* Runs in a forked child of its own, since a process has one session; the exit code tells. */
static int
in_child(int (*fn)(void *), void *arg)
{
    pid_t pid;
    int status;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(fn(arg));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "the child ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

#define COPY_BYTES 256u

static void
answer_all(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    static const uint8_t bytes[COPY_BYTES];
    struct wire_gpCopyOut3D_args a;

    if (record->call != WIRE_CALL_gpCopyOut3D) {
        fake_answer(f, record, args, len);
        return;
    }
    (void)wire_get_gpCopyOut3D_args(args, len, &a);
    fake_data(f, a.data, 0, bytes, COPY_BYTES / 2, 0, 0);
    fake_data(f, a.data, COPY_BYTES / 2, bytes, COPY_BYTES / 2, 1, 0);
}

static CUresult
copy_out(void)
{
    struct wire_gpCopyOut3D_args args = {0};
    uint8_t dst[COPY_BYTES];
    struct fe_call call;
    CUresult cr = fe_enter_in(&call, WIRE_CALL_gpCopyOut3D, NULL);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = fe_data_open_linear(&call, dst, sizeof(dst), FE_DATA_WAIT, &args.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(&call, wire_size_gpCopyOut3D_args(&args));
    if (to == NULL)
        return fe_leave(&call, fe_lost(&call));
    wire_put_gpCopyOut3D_args(to, &args);
    fe_post_done_wait(&call);
    return fe_leave(&call, fe_data_wait(&call, args.data));
}

/* 0: all went well before the cut; 1: an error came in time and stays; 2 and up: faults. */
static int
work_until_cut(void *arg)
{
    uint64_t begin = gp_now_ns();
    CUresult cr = fe_start();

    (void)arg;
    if (cr != CUDA_SUCCESS)
        return gp_now_ns() - begin < 5 * SECOND ? 1 : 2;
    begin = gp_now_ns();
    cr = barrier();
    if (cr == CUDA_SUCCESS)
        cr = copy_out();
    if (cr == CUDA_SUCCESS)
        cr = barrier();
    if (gp_now_ns() - begin > SECOND)
        return 3;
    if (cr == CUDA_SUCCESS)
        return 0;
    if (cr != CUDA_ERROR_DEVICE_UNAVAILABLE)
        return 4;
    return barrier() == CUDA_ERROR_DEVICE_UNAVAILABLE && copy_out() == cr ? 1 : 5;
}

Test(session, that_is_cut_at_any_byte_ends_in_an_error_at_once, .timeout = 100)
{
    uint64_t whole, cut, step;
    struct fake f;
    int rc;

    setenv("GPUPOOL_LOG", "error", 1);
    cr_redirect_stderr();
    fake_start(&f, &(struct fake_opts){.on_record = answer_all});
    /* The child has no copy of this process's threads, and the server no thread in the child. */
    cr_assert_eq(in_child(work_until_cut, NULL), 0);
    fake_join(&f);
    whole = f.sent;
    for (cut = 0; cut < whole; cut += step) {
        /* Every byte where frames begin and end, a sample inside the long device table. */
        step = whole - cut > 800 ? 101 : 7;
        fake_start(&f, &(struct fake_opts){.on_record = answer_all, .cut = true, .cut_after = cut});
        rc = in_child(work_until_cut, NULL);
        cr_assert_eq(rc, 1, "cut after %lu of %lu bytes: %d", cut, whole, rc);
        fake_join(&f);
    }
}

static void
never_answer(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    (void)record;
    (void)args;
    (void)len;
    fake_set(f, (unsigned)f->records);
}

static void *
wait_in_vain(void *unused)
{
    (void)unused;
    return (void *)(uintptr_t)barrier();
}

Test(session, whose_server_dies_wakes_everybody_who_waits, .timeout = 20)
{
    pthread_t threads[6];
    struct fake f;
    uint64_t begin;
    void *result;
    int i;

    fake_start(&f, &(struct fake_opts){.on_record = never_answer});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    for (i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, wait_in_vain, NULL);
    fake_await(&f, 6);
    begin = gp_now_ns();
    fake_stop(&f);
    for (i = 0; i < 6; i++) {
        pthread_join(threads[i], &result);
        cr_assert_eq((uintptr_t)result, CUDA_ERROR_DEVICE_UNAVAILABLE);
    }
    cr_assert_lt(gp_now_ns() - begin, SECOND);
    cr_assert_eq(fe_start(), CUDA_ERROR_DEVICE_UNAVAILABLE);
}

Test(session, notices_the_end_while_nobody_waits, .timeout = 20)
{
    struct fake f;

    fake_start(&f, NULL);
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_SUCCESS);
    fake_stop(&f);
    while (fe_session_get(NULL) != NULL) /* bounded by the test's timeout */
        sched_yield();
    cr_assert_eq(post_done_notice(1), CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void
hang(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    (void)record;
    (void)args;
    (void)len;
    f->opts.silent = true; /* from now on not even a PONG */
}

Test(session, with_a_server_that_fell_silent_ends_after_some_heartbeats, .timeout = 20)
{
    struct fake f;

    fake_start(&f, &(struct fake_opts){.on_record = hang, .heartbeat_ms = 50});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_ERROR_DEVICE_UNAVAILABLE);
    fake_stop(&f);
}

static struct wire_record held;

static void
hold(struct fake *f, const struct wire_record *record, const uint8_t *args, size_t len)
{
    (void)f;
    (void)args;
    (void)len;
    held = *record;
}

/* A slow machine asks before the call came, or again after its answer. */
static void
answer_held(struct fake *f)
{
    if (held.tag != 0)
        fake_reply(f, &held, 0, 0, NULL, 0);
    held.tag = 0;
}

Test(session, asks_whether_the_server_lives_when_an_answer_takes_long, .timeout = 20)
{
    struct fake f;

    fake_start(&f,
               &(struct fake_opts){.on_record = hold, .on_ping = answer_held, .heartbeat_ms = 50});
    cr_assert_eq(fe_start(), CUDA_SUCCESS);
    cr_assert_eq(barrier(), CUDA_SUCCESS, "answered only after a PING came");
    fake_stop(&f);
}

/* --- exit ------------------------------------------------------------------------------------ */

/* A program of its own: what it returns. */
static int
run_client(struct fake *f, const char *mode)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execl(CLIENT, "client", mode, NULL);
        _exit(99);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "it ended by signal %d", WTERMSIG(status));
    fake_join(f);
    return WEXITSTATUS(status);
}

Test(session, is_not_the_forked_childs)
{
    struct fake f;

    fake_start(&f, NULL);
    cr_assert_eq(run_client(&f, "fork"), 0);
    cr_assert_eq(f.records, 2, "the child sent nothing");
    cr_assert_eq(f.bye, WIRE_CODE_OK);
}

Test(session, sends_what_is_queued_and_a_bye_at_exit)
{
    struct fake f;

    fake_start(&f, NULL);
    cr_assert_eq(run_client(&f, "post"), 0);
    cr_assert_eq(f.records, 500);
    cr_assert_eq(f.bye, WIRE_CODE_OK);
}

Test(session, answers_deinitialized_to_calls_after_its_end)
{
    struct fake f;

    fake_start(&f, NULL);
    cr_assert_eq(run_client(&f, "late"), 0);
    cr_assert_eq(f.bye, WIRE_CODE_OK);
}

Test(session, a_server_sends_clients_to_lanes_of_ours_only)
{
    static const char *const bad[] = {
        "",
        "shm://@docker",
        "shm:///run/docker.sock",
        "shm://@gpupoo-1",
        "tls://elsewhere:1",
        "tcp://127.0.0.1:1",
        "rdma://elsewhere:1",
    };
    char url[300];

    for (size_t i = 0; i < GP_ARRAY_LEN(bad); i++)
        cr_assert_not(fe_lane_url("gpupool://host:7470", bad[i], url, sizeof(url)), "%s", bad[i]);
    cr_assert(
        fe_lane_url("gpupool://host:7470", "shm://@gpupool-0123456789abcdef", url, sizeof(url)));
    cr_assert_str_eq(url, "shm://@gpupool-0123456789abcdef");
    cr_assert(fe_lane_url("gpupool://host:7470", "rdma://*:7471", url, sizeof(url)));
    cr_assert_str_eq(url, "rdma://host:7471");
    cr_assert(fe_lane_url("gpupool://[fd00::1]", "rdma://*:7471", url, sizeof(url)));
    cr_assert_str_eq(url, "rdma://[fd00::1]:7471");
}

/* Says nothing but goodbye. */
static void *
hang_up(void *listener)
{
    struct pollfd p = {.fd = tp_listener_fd(listener), .events = POLLIN};
    int fd;

    do
        poll(&p, 1, -1);
    while (tp_accept(listener, &fd) != GP_OK);
    close(fd);
    return NULL;
}

/* Nobody is there: as on another machine. Somebody is, and it does not work: said, once. */
Test(session, an_offered_lane_that_fails_leaves_the_session_where_it_is, .init = cr_redirect_stderr,
     .timeout = 60)
{
    static struct fe_session s = {.url = "gpupool://127.0.0.1:1"};
    struct wire_open_answer answer = {.lane_count = 2};
    struct fe_resume resume = {.grace_ns = GP_NS_PER_S, .session_id = 7};
    struct tp_opts opts = {.framing = &wire_framing};
    struct tp_listener *listener;
    struct tp_lane *ends[2];
    struct fe_line *line;
    char said[2048] = "";
    FILE *out = cr_get_redirected_stderr();
    pthread_t thread;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tp_adopt("tcp", fds[i], TP_CLIENT, &opts, &ends[i]), GP_OK);
    cr_assert_eq(fe_line_create(&s, ends[0], 1 << 20, 0, &resume, &line), GP_OK);
    snprintf(answer.lanes[0], sizeof(answer.lanes[0]), "shm://@gpupool-nobody-%d", (int)getpid());
    snprintf(answer.lanes[1], sizeof(answer.lanes[1]), "shm://@gpupool-test-%d", (int)getpid());
    cr_assert_eq(tp_listen(answer.lanes[1], &opts, &listener), GP_OK);
    pthread_create(&thread, NULL, hang_up, listener);

    fe_resume_choose(line, &answer);
    pthread_join(thread, NULL);
    cr_assert_eq(tp_link_state(line->lane), TP_LINK_LIVE);
    cr_assert_str_eq(tp_scheme(line->lane), "tcp");
    tp_close(ends[1]);
    tp_shutdown(line->lane);
    fflush(stderr);
    (void)!fread(said, 1, sizeof(said) - 1, out);
    cr_assert_not_null(strstr(said, "is offered and does not work"), "%s", said);
    cr_assert_null(strstr(strstr(said, "is offered") + 1, "is offered"), "%s", said);
}
