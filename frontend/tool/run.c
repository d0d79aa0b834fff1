/* frontend/tool/run.c -- gpupool run: start a program that finds the pool instead of a driver */
#include "frontend/tool/tool.h"

#include "frontend/tool/choose.h"

#include "protocol/base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOT_FOUND 127 /* as shells have it */
#define NOT_RUN   126

static const struct gp_option options[] = {
    TOOL_CLIENT_OPTIONS,
    TOOL_NEED_OPTIONS,
    {"direct", NULL, GP_OPT_FLAG, NULL, "on this machine's software device, without a pool"},
    {NULL},
};
static const struct gp_option_set set = {"gpupool run", "-- PROGRAM [ARGUMENT]...", NULL, NULL,
                                         options};
static const char examples[] =
    "\nExamples:\n"
    "  gpupool run -- ./vectorAdd\n"
    "  gpupool run --server tls://gpu1.example:7470 -- python3 train.py\n"
    "  GPUPOOL_STATS=1 gpupool run -- ./vectorAdd    calls, round trips and bytes at exit\n"
    "  gpupool run --gpus 2 --model h200,a100 --memory 40G --wait 10m -- ./train\n"
    "  gpupool run --direct -- ./vectorAdd           the same on the CPU, to compare\n"
    "The exit code is the program's; 126 or 127 if it could not be started.\n";

/* Put the folder first, so that the program's loader finds our libcuda.so.1 there. */
static bool
prepend_library_path(const char *folder)
{
    const char *before = getenv("LD_LIBRARY_PATH");
    GP_AUTO_FREE char *path = NULL;

    if (asprintf(&path, "%s%s%s", folder, before != NULL && before[0] != '\0' ? ":" : "",
                 before != NULL ? before : "") < 0)
        return false;
    return setenv("LD_LIBRARY_PATH", path, 1) == 0;
}

int
tool_run(int argc, char **argv)
{
    GP_AUTO_FREE char *folder = NULL;
    struct gp_options *o;
    int next, rc = tool_options(&set, examples, argc, argv, &o, &next);
    bool direct, needs;

    if (rc >= 0)
        return rc;
    direct = gp_options_flag(o, "direct");
    needs = tool_need_set(o);
    gp_options_destroy(o);
    if (!needs)
        return TOOL_FAILED;
    if (next < argc && strcmp(argv[next], "--") == 0)
        next++;
    if (next >= argc) {
        fprintf(stderr, "gpupool run: no program given; gpupool run --help tells more\n");
        return TOOL_USAGE;
    }
    rc = direct ? -1 : tool_choose();
    if (rc >= 0)
        return rc;
    folder = tool_place(direct ? TOOL_SOFT : TOOL_CLIENT);
    if (folder == NULL || !prepend_library_path(folder))
        return TOOL_FAILED;
    execvp(argv[next], argv + next);
    rc = errno == ENOENT ? NOT_FOUND : NOT_RUN;
    fprintf(stderr, "gpupool run: %s: %s\n", argv[next], strerror(errno));
    return rc;
}
