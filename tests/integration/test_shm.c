/* tests/integration/test_shm.c -- sessions over a unix socket: who gets in, and who is gone */
#include "tests/support/client.h"
#include "tests/support/server.h"

#include "protocol/base/clock.h"
#include "protocol/wire/negotiate.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/gpupool-shm-XXXXXX";
static char listen_arg[128], config_arg[128];

static struct test_server
shm_server(const char *config)
{
    const char *args[] = {listen_arg, config != NULL ? config_arg : NULL, NULL};
    FILE *file;

    cr_assert_not_null(mkdtemp(folder));
    snprintf(listen_arg, sizeof(listen_arg), "--listen=shm://%s/socket", folder);
    snprintf(config_arg, sizeof(config_arg), "--config=%s/server.ini", folder);
    if (config != NULL) {
        file = fopen(config_arg + strlen("--config="), "w");
        cr_assert_not_null(file);
        fputs(config, file);
        fclose(file);
    }
    return test_server_start(args);
}

static void
shm_stop(struct test_server *server)
{
    test_server_stop(server);
    unlink(config_arg + strlen("--config="));
    cr_assert_eq(rmdir(folder), 0, "the socket is gone with its server");
}

Test(shm, a_session_runs_and_is_not_offered_to_survive)
{
    struct test_server server = shm_server(NULL);
    struct test_client c;

    cr_assert(test_client_open_with(&c, server.url[0], NULL, WIRE_FEATURE_RESUME), "%s",
              c.refused.reason);
    cr_assert_eq(c.server.features & WIRE_FEATURE_RESUME, 0);
    cr_assert_eq(c.answer.grace_ms, 0);
    test_client_begin(&c);
    test_client_close(&c);
    shm_stop(&server);
}

Test(shm, tenants_are_found_by_the_kernels_word)
{
    char config[256];
    struct test_server server;
    struct test_client c;

    snprintf(config, sizeof(config),
             "[tenant \"other\"]\nmatch = uid:%u, gid:%u\nmemory = 64m\n"
             "[tenant \"mine\"]\nmatch = uid:%u\nmemory = 256m\n",
             getuid() + 1, getgid() + 1, getuid());
    server = shm_server(config);
    cr_assert(test_client_open(&c, server.url[0], NULL), "%s", c.refused.reason);
    cr_assert_eq(c.answer.devices[0].total_bytes, 256u << 20);
    test_client_close(&c);
    shm_stop(&server);

    strcpy(folder, "/tmp/gpupool-shm-XXXXXX");
    snprintf(config, sizeof(config), "[tenant \"other\"]\nmatch = uid:%u, gid:%u\n", getuid() + 1,
             getgid() + 1);
    server = shm_server(config);
    cr_assert_not(test_client_open(&c, server.url[0], NULL));
    cr_assert_eq(c.refused.code, WIRE_CODE_NOT_ALLOWED);
    test_client_abandon(&c);
    shm_stop(&server);
}

/* Each time at another moment of its session, which ends with it. */
Test(shm, killed_clients_leave_nothing, .timeout = 120)
{
    struct test_server server = shm_server(NULL);
    pid_t worker;
    unsigned fds = 0;

    for (int round = 0; round < 6; round++) {
        int told[2];
        pid_t pid;

        cr_assert_eq(pipe(told), 0);
        pid = fork();
        if (pid == 0) {
            struct test_client c;

            close(told[0]);
            if (!test_client_open(&c, server.url[0], NULL))
                _exit(1);
            test_client_begin(&c);
            if (round % 3 == 1)
                TEST_ADD(&c, cuMemAlloc_v2, .address = c.answer.device_range.base,
                         .bytes = 1 << 20);
            if (round % 3 == 1)
                test_client_send(&c);
            (void)!write(told[1], &c.server.pid, sizeof(c.server.pid));
            while (round % 3 == 2) { /* busy: killed in the middle of a frame, sooner or later */
                test_client_add(&c, WIRE_CALL_cuMemGetInfo_v2, 0);
                test_client_send(&c);
            }
            for (;;)
                pause();
        }
        close(told[1]);
        cr_assert_eq(read(told[0], &worker, sizeof(worker)), (ssize_t)sizeof(worker));
        close(told[0]);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        test_server_await_gone(&server, worker);
        if (round == 0)
            fds = test_server_fds(&server);
    }
    cr_assert_leq(test_server_fds(&server), fds + 2, "descriptors stay behind");
    shm_stop(&server);
}

static uint8_t host[3 << 20];

static void
copy_in(struct test_client *c, uint64_t base, uint32_t bytes, uint32_t seed)
{
    for (uint32_t i = 0; i < bytes; i++)
        host[i] = (uint8_t)(i * 131 + (i >> 12) + seed);
    TEST_ADD(c, cuMemcpyHtoDAsync_v2, .dst = base, .stream = ID(5), .data = host,
             .data_len = bytes);
    test_client_send(c);
}

static void
is_there(struct test_client *c, uint64_t base, uint32_t bytes)
{
    gp_buf_reset(&c->data);
    TEST_ADD(c, cuMemcpyDtoHAsync_v2, .src = base, .bytes = bytes, .data = 7, .stream = ID(5));
    TEST_ADD(c, cuStreamSynchronize, .stream = ID(5));
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert_eq(c->result.deferred, 0);
    cr_assert_eq(c->data.len, bytes);
    cr_assert_eq(memcmp(c->data.data, host, bytes), 0, "%u bytes", bytes);
}

/* The device takes the bytes of a long copy from where the client wrote them if its context has
 * nothing to do, else they wait elsewhere: the stream of the second one waits for a value. */
Test(shm, long_copies_arrive_whatever_the_device_does, .timeout = 60)
{
    static const uint32_t sizes[] = {65536, 65537, 70000, 300001, 1 << 20, sizeof(host)};
    struct test_server server = shm_server(NULL);
    uint64_t wait[4] = {CU_STREAM_MEM_OP_WAIT_VALUE_32};
    struct test_client c;
    uint64_t base;

    test_client_start(&c, server.url[0]);
    base = c.answer.device_range.base;
    TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = sizeof(host) + 4096);
    TEST_ADD(&c, cuMemsetD8Async, .dst = base, .count = sizeof(host) + 4096);
    TEST_ADD(&c, cuCtxSynchronize, 0);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS, "the streams do not wait for it");
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(5), .flags = 1);
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(6), .flags = 1);
    cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        copy_in(&c, base + 4096, sizes[i], i);
        is_there(&c, base + 4096, sizes[i]);

        wait[2] = i + 1;
        wait[1] = base;
        TEST_ADD(&c, cuStreamBatchMemOp_v2, .stream = ID(5), .ops = wait, .ops_len = 4);
        cr_assert_eq(test_client_deferred(&c), CUDA_SUCCESS);
        copy_in(&c, base + 4096, sizes[i], i + 100);
        TEST_ADD(&c, cuMemsetD32Async, .dst = base, .value = i + 1, .count = 1, .stream = ID(6));
        is_there(&c, base + 4096, sizes[i]);
    }
    test_client_close(&c);
    shm_stop(&server);
}
