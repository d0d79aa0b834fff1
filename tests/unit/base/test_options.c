/* tests/unit/base/test_options.c -- one table, four sources */
#include "protocol/base/options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const struct gp_option table[] = {
    {"listen", "URL", GP_OPT_URLS, NULL, "accept sessions on URL"},
    {"driver", "NAME", GP_OPT_ENUM, "cuda", "which driver", .choices = "cuda|soft"},
    {"tls-cert", "FILE", GP_OPT_PATH, NULL, "certificate", .section = "tls", .key = "cert"},
    {"reserve", "BYTES", GP_OPT_BYTES, "512m",
     "device memory that is kept free for contexts, and "
     "what else a long help text may say"},
    {"slice", "TIME", GP_OPT_TIME, "20ms", "longest turn"},
    {"workers", "N", GP_OPT_NUMBER, "2", "warm workers"},
    {"ready-fd", "FD", GP_OPT_FD, NULL, "write the address there", .args_only = true},
    {"mask-feature", "NAME", GP_OPT_STRINGS, NULL, "do not offer NAME"},
    {"metrics", NULL, GP_OPT_FLAG, "yes", "serve metrics"},
    {NULL},
};

static const struct gp_option_set set = {
    .program = "demo",
    .summary = "test",
    .env_prefix = "GPTEST_",
    .section = "server",
    .options = table,
};

static struct gp_options *o;

static void
setup(void)
{
    cr_assert_eq(gp_options_create(&set, &o), GP_OK);
}

static void
teardown(void)
{
    gp_options_destroy(o);
}

TestSuite(options, .init = setup, .fini = teardown);

#define ARGS(...)                                                                                  \
    (char *const[]){(char *)"demo", __VA_ARGS__, NULL},                                            \
        (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)) + 1

static enum gp_status
load(char *const *argv, int argc, int *next_p)
{
    return gp_options_load_args(o, argc, argv, next_p);
}

Test(options, defaults_count_until_something_else_is_said)
{
    cr_assert_eq(gp_options_u64(o, "reserve"), 512u << 20);
    cr_assert_eq(gp_options_u64(o, "slice"), 20000000);
    cr_assert_str_eq(gp_options_text(o, "driver"), "cuda");
    cr_assert(gp_options_flag(o, "metrics"));
    cr_assert_not(gp_options_is_set(o, "tls-cert"));
    cr_assert_null(gp_options_text(o, "tls-cert"));
    cr_assert_eq(gp_options_u64(o, "ready-fd"), UINT64_MAX);
    cr_assert_str_eq(gp_options_where(o, "slice"), "default");
}

Test(options, arguments_are_read_in_both_forms_and_end_where_they_end)
{
    int next = 0;

    cr_assert_eq(load(ARGS("--slice=5ms", "--listen", "tls://a:1,tls://b:2", "--listen=tcp://c:3",
                           "--no-metrics", "--ready-fd", "7", "run", "--slice=9s"),
                      &next),
                 GP_OK);
    cr_assert_eq(next, 8);
    cr_assert_eq(gp_options_u64(o, "slice"), 5000000);
    cr_assert_eq(gp_options_count(o, "listen"), 3);
    cr_assert_str_eq(gp_options_at(o, "listen", 2), "tcp://c:3");
    cr_assert_not(gp_options_flag(o, "metrics"));
    cr_assert_eq(gp_options_u64(o, "ready-fd"), 7);
    cr_assert_str_eq(gp_options_where(o, "slice"), "--slice");
    cr_assert_eq(load(ARGS("--slice=1s", "--", "--help"), &next), GP_OK);
    cr_assert_eq(next, 3);
    cr_assert_eq(load(ARGS("--help"), &next), GP_ERR_AGAIN);
}

Test(options, wrong_arguments_are_refused)
{
    int next;

    cr_assert_eq(load(ARGS("--nonsense"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("-x"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--slice"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--slice="), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--slice=soon"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--driver=vulkan"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--driver=cuda|soft"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--no-metrics=yes"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--no-slice"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--listen=tls://a,b"), &next), GP_ERR_INVALID);
    cr_assert_eq(load(ARGS("--workers=-1"), &next), GP_ERR_INVALID);
    cr_assert_eq(gp_options_u64(o, "slice"), 20000000, "what was wrong changed nothing");
}

Test(options, arguments_beat_environment_beats_file_whatever_comes_first)
{
    int next;

    setenv("GPTEST_SLICE", "2ms", 1);
    setenv("GPTEST_TLS_CERT", "/env.pem", 1);
    setenv("GPTEST_MASK_FEATURE", "a,b", 1);
    setenv("GPTEST_READY_FD", "9", 1);
    setenv("GPTEST_WORKERS", "", 1);
    cr_assert_eq(load(ARGS("--slice=1ms"), &next), GP_OK);
    cr_assert_eq(gp_options_load_env(o), GP_OK);
    cr_assert_eq(gp_options_load_text(o, "demo.ini",
                                      "# comment\n[server]\nslice = 3ms\nworkers = 8\n"
                                      "mask-feature = z\n[tls]\ncert = /file.pem\n"),
                 GP_OK);
    cr_assert_eq(gp_options_u64(o, "slice"), 1000000);
    cr_assert_str_eq(gp_options_text(o, "tls-cert"), "/env.pem");
    cr_assert_eq(gp_options_u64(o, "workers"), 8, "an empty variable says nothing");
    cr_assert_str_eq(gp_options_where(o, "workers"), "demo.ini:4");
    cr_assert_eq(gp_options_count(o, "mask-feature"), 2);
    cr_assert_eq(gp_options_u64(o, "ready-fd"), UINT64_MAX, "not from the environment");
}

Test(options, file_mistakes_are_refused)
{
    static const char *const bad[] = {
        "[server]\nslise = 3ms\n",  "[srv]\nslice = 3ms\n",  "slice = 3ms\n",
        "[server]\nslice\n",        "[server]\nslice = x\n", "[server\nslice=1ms\n",
        "[server]\nready-fd = 3\n", "[server]\ncert = x\n",
    };
    char line[1000];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(gp_options_load_text(o, "bad.ini", bad[i]), GP_ERR_INVALID, "%s", bad[i]);
    memset(line, 'a', sizeof(line));
    memcpy(line, "[server]\nmask-feature=", 22);
    line[sizeof(line) - 1] = '\0';
    cr_assert_eq(gp_options_load_text(o, "long.ini", line), GP_ERR_INVALID, "too long a line");
    cr_assert_eq(gp_options_load_file(o, "/nonexistent/demo.ini"), GP_ERR_NOT_FOUND);
    cr_assert_eq(gp_options_load_file(o, "/proc/self/exe"), GP_ERR_INVALID, "not a text");
    cr_assert_eq(gp_options_load_file(o, "/dev/zero"), GP_ERR_LIMIT, "no end to it");
}

static enum gp_status
other(void *user, const char *section, const char *key, const char *value, const char *where)
{
    if (strcmp(section, "tenant \"alice\"") != 0 || strcmp(key, "memory") != 0)
        return GP_ERR_NOT_FOUND;
    snprintf(user, 64, "%s at %s", value, where);
    return GP_OK;
}

Test(options, sections_of_others_go_to_their_owner)
{
    char got[64] = "";

    gp_options_set_other(o, other, got);
    cr_assert_eq(gp_options_load_text(
                     o, "t.ini", "[tenant \"alice\"]\nmemory = 8g ; half\n[server]\nslice=1s\n"),
                 GP_OK);
    cr_assert_str_eq(got, "8g at t.ini:2");
    cr_assert_eq(gp_options_load_text(o, "t.ini", "[tenant \"bob\"]\nmemory = 8g\n"),
                 GP_ERR_INVALID);
}

Test(options, indented_lines_add_to_a_list)
{
    cr_assert_eq(gp_options_load_text(o, "l.ini", "[server]\nlisten = tls://a:1\n  tls://b:2\n"),
                 GP_OK);
    cr_assert_eq(gp_options_count(o, "listen"), 2);
}

Test(options, help_and_reference_name_every_option)
{
    struct gp_buf help = {0}, page = {0};

    gp_options_help(&set, &help);
    gp_options_reference(&set, &page);
    gp_buf_append(&help, "", 1);
    gp_buf_append(&page, "", 1);
    for (const struct gp_option *opt = table; opt->name != NULL; opt++) {
        char name[64];

        snprintf(name, sizeof(name), "--%s", opt->name);
        cr_assert_not_null(strstr((char *)help.data, name), "%s", name);
        cr_assert_not_null(strstr((char *)page.data, name), "%s", name);
    }
    for (char *line = strtok((char *)help.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
        cr_assert_leq(strlen(line), 80, "%s", line);
    cr_assert_not_null(strstr((char *)page.data, "cuda\\|soft"));
    cr_assert_not_null(strstr((char *)page.data, "[tls] cert"));
    gp_buf_fini(&help);
    gp_buf_fini(&page);
}
