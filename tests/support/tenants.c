/* tests/support/tenants.c */
#include "tests/support/tenants.h"

#include "tests/unit/transport/certs.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define OPTIONS_MAX 8

static char config_option[128]; /* "--config=PATH", or empty */
static char device_name[64];    /* empty: each worker has its own */

static const char *
config_path(void)
{
    return strchr(config_option, '=') + 1;
}

void
test_tenants_config(const char *config)
{
    FILE *file = fopen(config_path(), "w");

    cr_assert_not_null(file);
    cr_assert_geq(fputs(config, file), 0);
    cr_assert_eq(fclose(file), 0);
}

void
test_tenants_share_device(void)
{
    snprintf(device_name, sizeof(device_name), "tenants-%d", (int)getpid());
    setenv("GPUPOOL_SOFT_SHARED", device_name, 1);
}

struct test_server
test_tenants_start(const char *config)
{
    return test_tenants_start_with(config, (const char *const[]){NULL});
}

struct test_server
test_tenants_start_with(const char *config, const char *const *options)
{
    static const char *const names[] = {"alice", "bob", "carol", "dave", "eve"};
    const char *args[5 + OPTIONS_MAX + 1] = {"--listen=tls://127.0.0.1:0"};
    size_t count = 4;

    (void)test_certs_create();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        test_certs_add(&(struct test_cert){.name = names[i], .ca = "ca", .cn = names[i]});
    test_certs_server_args(args + 1);
    if (config != NULL) {
        snprintf(config_option, sizeof(config_option), "--config=/tmp/gpupool-tenants-%d.ini",
                 (int)getpid());
        test_tenants_config(config);
        args[count++] = config_option;
    }
    for (size_t i = 0; options[i] != NULL; i++) {
        cr_assert_lt(i, OPTIONS_MAX);
        args[count++] = options[i];
    }
    return test_server_start(args);
}

void
test_tenants_stop(struct test_server *server)
{
    char path[160];

    test_server_stop(server);
    if (config_option[0] != '\0')
        unlink(config_path());
    if (device_name[0] != '\0') {
        snprintf(path, sizeof(path), "/gpupool-soft-%u-%s", (unsigned)geteuid(), device_name);
        shm_unlink(path);
    }
    test_certs_destroy();
}

bool
test_tenants_try(struct test_client *c, const struct test_server *server, const char *name)
{
    struct tp_tls_opts tls = test_certs_opts(name, "ca");

    return test_client_open(c, server->url[0], &tls);
}

void
test_tenants_open(struct test_client *c, const struct test_server *server, const char *name)
{
    cr_assert(test_tenants_try(c, server, name), "%s", c->refused.reason);
    test_client_begin(c);
}

void
test_tenants_memory(struct test_client *c, uint64_t *free_p, uint64_t *total_p)
{
    struct wire_cuMemGetInfo_v2_reply reply;

    TEST_ADD(c, cuMemGetInfo_v2, 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert(wire_get_cuMemGetInfo_v2_reply(c->reply, c->reply_len, &reply));
    *free_p = reply.free;
    *total_p = reply.total;
}
