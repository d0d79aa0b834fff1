/* tests/unit/frontend/test_config.c -- where the client looks for its servers and certificates */
#include "frontend/core/config.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static void
make_home(void)
{
    char path[128];

    strcpy(folder, "/tmp/fe-config-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    setenv("HOME", folder, 1);
    snprintf(path, sizeof(path), "%s/.config", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/.config/gpupool", folder);
    mkdir(path, 0700);
    unsetenv("GPUPOOL_SERVER");
    unsetenv("GPUPOOL_CONFIG");
    unsetenv("GPUPOOL_CERT");
    unsetenv("GPUPOOL_KEY");
    unsetenv("GPUPOOL_CA");
}

static void
remove_home(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

/* A file below the home; returns its path, in static memory. */
static const char *
put(const char *name, const char *text)
{
    static char path[192];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

TestSuite(config, .init = make_home, .fini = remove_home);

Test(config, without_any_source_names_no_server)
{
    struct fe_config config;

    cr_assert_eq(fe_config_load(&config), GP_ERR_NOT_FOUND);
    cr_assert_eq(config.server_count, 0);
    fe_config_fini(&config);
}

Test(config, is_read_from_the_home_with_the_certificates_beside_it)
{
    struct fe_config config;
    char wanted[192];

    put(".config/gpupool/client.ini", "[client]\nserver = tls://a:1, tls://[::1]:2\n"
                                      "key = /elsewhere/my.key\n");
    snprintf(wanted, sizeof(wanted), "%s", put(".config/gpupool/client.crt", "x"));
    cr_assert_eq(fe_config_load(&config), GP_OK);
    cr_assert_eq(config.server_count, 2);
    cr_assert_str_eq(config.servers[0], "tls://a:1");
    cr_assert_str_eq(config.servers[1], "tls://[::1]:2");
    cr_assert_str_eq(config.cert, wanted);
    cr_assert_str_eq(config.key, "/elsewhere/my.key");
    cr_assert_null(config.ca, "there is none");
    fe_config_fini(&config);
}

Test(config, of_the_environment_wins_over_a_file)
{
    struct fe_config config;

    put(".config/gpupool/client.ini", "[client]\nserver = tls://a:1\nca = /file/ca.crt\n");
    setenv("GPUPOOL_SERVER", "tls://b:2", 1);
    setenv("GPUPOOL_CERT", "/env/me.crt", 1);
    cr_assert_eq(fe_config_load(&config), GP_OK);
    cr_assert_eq(config.server_count, 1);
    cr_assert_str_eq(config.servers[0], "tls://b:2");
    cr_assert_str_eq(config.cert, "/env/me.crt");
    cr_assert_str_eq(config.ca, "/file/ca.crt");
    fe_config_fini(&config);
}

Test(config, named_by_the_environment_is_used_instead_of_the_home)
{
    struct fe_config config;

    put(".config/gpupool/client.ini", "[client]\nserver = tls://a:1\n");
    setenv("GPUPOOL_CONFIG", put("other.ini", "[client]\nserver = tls://c:3\n"), 1);
    cr_assert_eq(fe_config_load(&config), GP_OK);
    cr_assert_str_eq(config.servers[0], "tls://c:3");
    fe_config_fini(&config);
}

Test(config, that_is_named_but_missing_or_wrong_is_an_error, .init = NULL)
{
    struct fe_config config;

    make_home();
    cr_redirect_stderr();
    setenv("GPUPOOL_CONFIG", "/nonexistent/client.ini", 1);
    cr_assert_eq(fe_config_load(&config), GP_ERR_INVALID);
    fe_config_fini(&config);
    setenv("GPUPOOL_CONFIG", put("bad.ini", "[client]\nserver = what is this\n"), 1);
    cr_assert_eq(fe_config_load(&config), GP_ERR_INVALID);
    fe_config_fini(&config);
    unsetenv("GPUPOOL_CONFIG");
    setenv("GPUPOOL_SERVER", "nonsense", 1);
    cr_assert_eq(fe_config_load(&config), GP_ERR_INVALID);
    fe_config_fini(&config);
}

Test(config, says_what_connections_shall_be_like)
{
    struct fe_config config;

    put(".config/gpupool/client.ini", "[client]\nserver = tls://a:1\ntcp-keepalive = 1500ms\n"
                                      "tcp-send-buffer = 1m\ntls-rekey = 1g\n");
    setenv("GPUPOOL_TCP_CONGESTION", "reno", 1);
    cr_assert_eq(fe_config_load(&config), GP_OK);
    cr_assert_str_eq(config.socket.congestion, "reno");
    cr_assert_eq(config.socket.keepalive_s, 2);
    cr_assert_eq(config.socket.send_buffer_bytes, 1 << 20);
    cr_assert_eq(config.socket.recv_buffer_bytes, 0);
    cr_assert(config.socket.kernel_tls);
    cr_assert_eq(config.socket.rekey_bytes, 1u << 30);
    fe_config_fini(&config);
    setenv("GPUPOOL_TCP_CONGESTION", "no-such-congestion-control", 1);
    cr_assert_eq(fe_config_load(&config), GP_ERR_INVALID);
    fe_config_fini(&config);
    setenv("GPUPOOL_TCP_CONGESTION", "nosuch", 1);
    cr_assert_eq(fe_config_load(&config), GP_ERR_INVALID);
    fe_config_fini(&config);
    unsetenv("GPUPOOL_TCP_CONGESTION");
}
