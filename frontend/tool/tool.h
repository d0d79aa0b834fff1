/* frontend/tool/tool.h -- the parts of the command `gpupool`; exit codes 0, 1: failed, 2: usage */
#ifndef FE_TOOL_H
#define FE_TOOL_H

#include "protocol/base/options.h"

#include <stdbool.h>

#define TOOL_FAILED 1
#define TOOL_USAGE  2

/* argv[0] is the command's name. Return the exit code. */
int tool_run(int argc, char **argv);
int tool_info(int argc, char **argv);
int tool_get(int argc, char **argv);
int tool_describe(int argc, char **argv);
int tool_top(int argc, char **argv);
int tool_report(int argc, char **argv);
int tool_drain(int argc, char **argv);
int tool_kick(int argc, char **argv);
int tool_quota(int argc, char **argv);
int tool_doctor(int argc, char **argv);
int tool_certs(int argc, char **argv);
int tool_place_command(int argc, char **argv);

/*
 * Read the options of a command that has --server, --config, --cert, --key, --ca, and put those
 * into the environment, where the client library finds them. *next_p is the first argument that is
 * no option. Returns -1 to go on, else the exit code.
 */
int tool_options(const struct gp_option_set *set, const char *examples, int argc, char **argv,
                 struct gp_options **options_p, int *next_p);
/*
 * The same, with other arguments (at most max) before, between and behind the options, and -o and
 * -w for --output and --watch.
 */
int tool_arguments(const struct gp_option_set *set, const char *examples, int argc, char **argv,
                   struct gp_options **options_p, char **others, size_t max, size_t *count_p);
/* What an option was given, by comma, into the environment; nothing where it was not. */
bool tool_option_export(const struct gp_options *o, const char *option, const char *variable);
#define TOOL_CLIENT_OPTIONS                                                                        \
    {"server", "URL", GP_OPT_GROUPS, NULL,                                                         \
     "pool servers in order, tls://host:port, or gpupool:// for the best lane; a+b: both"},        \
        {"config", "FILE", GP_OPT_PATH, NULL,                                                      \
         "read FILE instead of ~/.config/gpupool/client.ini"},                                     \
        {"cert", "FILE", GP_OPT_PATH, NULL, "the client's certificate, PEM"},                      \
        {"key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM"},                                \
    {                                                                                              \
        "ca", "FILE", GP_OPT_PATH, NULL, "who signed the servers' certificates, PEM"               \
    }

enum tool_place {
    TOOL_CLIENT, /* the pool's client libraries */
    TOOL_SOFT,   /* the software device */
};

/* The folder of a libcuda.so.1 of ours, seen from where this command lies, in a build tree or
 * installed; malloc'ed, NULL with a message when there is none. */
char *tool_place(enum tool_place place);

#endif
