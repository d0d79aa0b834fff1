/* frontend/tool/main.c -- the command `gpupool` */
#include "frontend/tool/tool.h"

#include "frontend/core/config.h"
#include "frontend/core/perf.h"

#include "protocol/base/buf.h"
#include "protocol/base/util.h"
#include "protocol/base/version.h"
#include "protocol/wire/negotiate.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "Usage: gpupool COMMAND [OPTION]...\n"
    "Use GPUs of a pool from a machine that has none.\n"
    "\n"
    "  run [OPTION]... -- PROGRAM [ARGUMENT]...   run a CUDA program on the pool\n"
    "  info [OPTION]...                           connect, show server and devices\n"
    "  get gpus|servers|sessions|tenants          list them, for operators\n"
    "  describe gpu|server|session|tenant NAME    all about one of them\n"
    "  top                                        watch the pool in the terminal\n"
    "  report                                     how much ran where, for whom\n"
    "  drain [SERVER]...                          take no new sessions\n"
    "  kick SESSION | --tenant NAME               end sessions\n"
    "  quota TENANT KEY=VALUE...                  change what a tenant may have\n"
    "  place [NEED]...                            show where a program would run\n"
    "  doctor                                     find what keeps programs from the pool\n"
    "  certs DIR                                  make certificates for a laboratory\n"
    "  version                                    show the versions of this client\n"
    "  man                                        print the manual page, with all settings\n"
    "\n"
    "gpupool COMMAND --help tells more. The server is named by --server, by GPUPOOL_SERVER, or in\n"
    "~/.config/gpupool/client.ini or /etc/gpupool/client.ini:\n"
    "\n"
    "  [client]\n"
    "  server = tls://gpu1.example:7470\n"
    "\n"
    "with client.crt, client.key and ca.crt beside that file (or cert =, key =, ca =).\n"
    "\n"
    "Examples:\n"
    "  gpupool run -- ./vectorAdd\n"
    "  gpupool info --server tls://gpu1.example:7470\n"
    "Exit code 0, 1: failed, 2: wrong usage.\n";

static const char environment[] =
    "GPUPOOL_CONFIG=FILE    settings from FILE instead of client.ini\n"
    "GPUPOOL_LOG=LEVEL      how much to say on standard error: error|warn|info|debug (warn)\n"
    "GPUPOOL_STATS=1|json   at exit: calls, exposed round trips, bytes each way, time waited\n"
    "GPUPOOL_TRACE=FILE     what happened when, here and on the server, for Perfetto; %p in FILE\n"
    "                       becomes the process's id\n"
    "CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER, CUDA_MODULE_LOADING, CUDA_LAUNCH_BLOCKING\n"
    "                       as with NVIDIA's driver\n"
    "GPUPOOL_PERF=SWITCH,.. leave optimisations out, to find faults and measure gains:\n"
    "                       ";

/* A path as it will be understood from every folder; NULL when there is no such file. */
static bool
set_path(const char *variable, const char *path)
{
    char whole[PATH_MAX];

    if (realpath(path, whole) == NULL) {
        fprintf(stderr, "gpupool: %s: %s\n", path, "no such file");
        return false;
    }
    return setenv(variable, whole, 1) == 0;
}

bool
tool_option_export(const struct gp_options *o, const char *option, const char *variable)
{
    GP_AUTO_BUF struct gp_buf list = {0};
    size_t count = gp_options_count(o, option);

    if (count == 0)
        return true;
    for (size_t i = 0; i < count; i++)
        gp_buf_printf(&list, "%s%s", i > 0 ? "," : "", gp_options_at(o, option, i));
    gp_buf_append(&list, "", 1);
    return gp_buf_status(&list) == GP_OK && setenv(variable, (char *)list.data, 1) == 0;
}

static bool
set_environment(const struct gp_options *o)
{
    static const char *const paths[][2] = {
        {"config", "GPUPOOL_CONFIG"},
        {"cert", "GPUPOOL_CERT"},
        {"key", "GPUPOOL_KEY"},
        {"ca", "GPUPOOL_CA"},
    };
    size_t i;

    for (i = 0; i < GP_ARRAY_LEN(paths); i++) {
        const char *path = gp_options_text(o, paths[i][0]);

        if (path != NULL && !set_path(paths[i][1], path))
            return false;
    }
    return tool_option_export(o, "server", "GPUPOOL_SERVER");
}

static void
print_help(const struct gp_option_set *set, const char *examples)
{
    struct gp_buf text = {0};

    gp_options_help(set, &text);
    fwrite(text.data, 1, text.len, stdout);
    fputs(examples, stdout);
    gp_buf_fini(&text);
}

/* Options were read with this status: hand them over, or say what there is; as tool_options(). */
static int
take_options(const struct gp_option_set *set, const char *examples, enum gp_status status,
             struct gp_options *o, struct gp_options **options_p)
{
    if (status == GP_OK && set_environment(o)) {
        *options_p = o;
        return -1;
    }
    gp_options_destroy(o);
    if (status == GP_ERR_AGAIN) {
        print_help(set, examples);
        return 0;
    }
    return TOOL_USAGE;
}

int
tool_options(const struct gp_option_set *set, const char *examples, int argc, char **argv,
             struct gp_options **options_p, int *next_p)
{
    struct gp_options *o;

    if (gp_options_create(set, &o) != GP_OK)
        return TOOL_FAILED;
    return take_options(set, examples, gp_options_load_args(o, argc, argv, next_p), o, options_p);
}

/* What kubectl's users write. */
static void
long_names(int argc, char **argv)
{
    static const char *const names[][2] = {{"-o", "--output"}, {"-w", "--watch"}, {"-h", "--help"}};

    for (int i = 1; i < argc; i++)
        for (size_t n = 0; n < GP_ARRAY_LEN(names); n++)
            if (strcmp(argv[i], names[n][0]) == 0)
                argv[i] = (char *)(uintptr_t)names[n][1];
}

int
tool_arguments(const struct gp_option_set *set, const char *examples, int argc, char **argv,
               struct gp_options **options_p, char **others, size_t max, size_t *count_p)
{
    enum gp_status status;
    struct gp_options *o;
    int at = 0, next;

    long_names(argc, argv);
    if (gp_options_create(set, &o) != GP_OK)
        return TOOL_FAILED;
    *count_p = 0;
    do {
        status = gp_options_load_args(o, argc - at, argv + at, &next);
        at += next;
        if (status == GP_OK && at < argc && *count_p == max) {
            fprintf(stderr, "%s: unexpected argument %s\n", set->program, argv[at]);
            status = GP_ERR_INVALID;
        } else if (status == GP_OK && at < argc) {
            others[(*count_p)++] = argv[at];
        }
    } while (status == GP_OK && at < argc);
    return take_options(set, examples, status, o, options_p);
}

static int
tool_version(void)
{
    printf("gpupool %s\nwire format %u.%u\nCUDA driver API 13.0\n", GP_VERSION, WIRE_FORMAT,
           WIRE_MINOR);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", tool_run},       {"info", tool_info},     {"get", tool_get},
    {"top", tool_top},       {"report", tool_report}, {"describe", tool_describe},
    {"drain", tool_drain},   {"kick", tool_kick},     {"quota", tool_quota},
    {"doctor", tool_doctor}, {"certs", tool_certs},   {"place", tool_place_command},
};

/* What a command prints for --help; malloc'ed. */
static char *
help_of(size_t which)
{
    char help_option[] = "--help",
         *argv[] = {(char *)(uintptr_t)commands[which].name, help_option, NULL};
    FILE *before = stdout;
    char *text = NULL;
    size_t bytes = 0;

    stdout = open_memstream(&text, &bytes);
    if (stdout != NULL) {
        (void)commands[which].run(2, argv);
        fclose(stdout);
    }
    stdout = before;
    return text;
}

static void
print_roff(const char *text)
{
    for (bool line_start = true; *text != '\0'; line_start = *text++ == '\n') {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\' || *text == '-')
            fputs(*text == '-' ? "\\-" : "\\e", stdout);
        else
            putchar(*text);
    }
}

static void
print_settings(void)
{
    GP_AUTO_BUF struct gp_buf text = {0};
    char names[256];

    fe_perf_names(names, sizeof(names));
    gp_options_example(&fe_config_options, &text);
    gp_buf_append(&text, "", 1);
    if (gp_buf_status(&text) != GP_OK)
        return;
    fputs(
        ".SH SETTINGS\nOf programs that use the pool, in client.ini; each may also be a variable,\n"
        "GPUPOOL_NAME, which wins.\n.PP\n.nf\n",
        stdout);
    print_roff((const char *)text.data);
    fputs(".fi\n.SH ENVIRONMENT\n.nf\n", stdout);
    print_roff(environment);
    print_roff(names);
    fputs("\n.fi\n.SH FILES\n.nf\n", stdout);
    print_roff("~/.config/gpupool/client.ini, or /etc/gpupool/client.ini if that is not there\n"
               "client.crt, client.key, ca.crt in the same folder\n");
    fputs(".fi\n", stdout);
}

/* gpupool man: the manual page, from what --help says. */
static int
tool_man(void)
{
    fputs(".TH GPUPOOL 1 \"\" gpupool \"User commands\"\n.SH NAME\n"
          "gpupool \\- use and operate a pool of GPUs\n.SH SYNOPSIS\n.B gpupool\n"
          ".I COMMAND\n.RI [ OPTION ]...\n.SH DESCRIPTION\n.nf\n",
          stdout);
    print_roff(strchr(help, '\n') + 1);
    fputs(".fi\n.SH COMMANDS\n", stdout);
    for (size_t i = 0; i < GP_ARRAY_LEN(commands); i++) {
        GP_AUTO_FREE char *text = help_of(i);

        printf(".SS gpupool %s\n.nf\n", commands[i].name);
        if (text != NULL)
            print_roff(text);
        fputs(".fi\n", stdout);
    }
    print_settings();
    fputs(".SH SEE ALSO\n.BR gpupoold (8)\n", stdout);
    return 0;
}

int
main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";

    for (size_t i = 0; i < GP_ARRAY_LEN(commands); i++)
        if (strcmp(command, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0)
        return tool_version();
    if (strcmp(command, "man") == 0)
        return tool_man();
    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0 ||
        strcmp(command, "help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (command[0] == '\0')
        fputs(help, stderr);
    else
        fprintf(stderr, "gpupool: unknown command %s; gpupool --help tells more\n", command);
    return TOOL_USAGE;
}
