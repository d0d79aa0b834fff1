/* frontend/tool/choose.c -- gpupool place, and what gpupool run does before the program starts */
#include "frontend/tool/choose.h"

#include "frontend/core/need.h"
#include "frontend/tool/directory.h"
#include "frontend/tool/find.h"
#include "frontend/tool/tool.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct gp_option options[] = {
    TOOL_NEED_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set set = {"gpupool place", "", NULL, NULL, options};
static const char examples[] =
    "\nShows where a program with these needs would run now, and why not elsewhere. Nothing is "
    "taken.\n\nExamples:\n"
    "  gpupool place --gpus 2 --model h200,a100 --memory 40G\n"
    "  gpupool place --prefer only-cloud --spread\n"
    "Where no server has so many GPUs, several are used together: those with a plus.\n"
    "Exit code 0: somewhere, 1: nowhere, 2: wrong usage.\n";

/* The environment is what the program's own library reads. */
bool
tool_need_set(const struct gp_options *o)
{
    static const char *const names[][2] = {
        {"gpus", "GPUPOOL_GPUS"},     {"model", "GPUPOOL_MODEL"},
        {"memory", "GPUPOOL_MEMORY"}, {"share", "GPUPOOL_SHARE"},
        {"region", "GPUPOOL_REGION"}, {"prefer", "GPUPOOL_PREFER"},
        {"order", "GPUPOOL_ORDER"},   {"wait", "GPUPOOL_WAIT"},
        {"etcd", "GPUPOOL_ETCD"},     {"servers-file", "GPUPOOL_SERVERS_FILE"},
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(names); i++)
        if (strcmp(gp_options_where(o, names[i][0]), "default") != 0 &&
            !tool_option_export(o, names[i][0], names[i][1]))
            return false;
    if (gp_options_flag(o, "spread") || gp_options_flag(o, "pack"))
        return setenv("GPUPOOL_ORDER", gp_options_flag(o, "spread") ? "spread" : "pack", 1) == 0;
    return true;
}

int
tool_place_command(int argc, char **argv)
{
    struct tool_found found;
    struct fe_config config;
    struct gp_options *o;
    size_t count = 0;
    int rc = tool_arguments(&set, examples, argc, argv, &o, NULL, 0, &count);
    enum gp_status status;

    if (rc >= 0)
        return rc;
    if (!tool_need_set(o)) {
        gp_options_destroy(o);
        return TOOL_FAILED;
    }
    gp_options_destroy(o);
    rc = TOOL_FAILED;
    status = fe_config_load(&config);
    if (status == GP_ERR_NOT_FOUND && config.etcd_count == 0)
        fprintf(stderr, "gpupool place: no server and no directory is named\n");
    else if (status == GP_OK || status == GP_ERR_NOT_FOUND) {
        if (tool_find(&config, &found)) {
            tool_found_print(&config, &found, stdout);
            rc = found.fit + found.together > 0 ? 0 : TOOL_FAILED;
        } else {
            fprintf(stderr, "gpupool place: %s\n", found.why);
        }
        tool_found_fini(&found);
    }
    fe_config_fini(&config);
    return rc;
}

/* -- before a program starts ------------------------------------------------------------------- */

/* In this order the program's library tries them; or it uses them together, each by its first URL.
 */
static bool
servers_export(const struct tool_found *found)
{
    GP_AUTO_BUF struct gp_buf list = {0};

    for (size_t i = 0; i < found->fit && i < FE_SERVERS_MAX / 2; i++)
        gp_buf_printf(&list, "%s%s", i > 0 ? "," : "", found->list[found->order[i]].urls);
    for (size_t i = 0; i < found->together; i++) {
        const char *urls = found->list[found->order[i]].urls;

        gp_buf_printf(&list, "%s%.*s", i > 0 ? "+" : "", (int)strcspn(urls, ","), urls);
    }
    gp_buf_append(&list, "", 1);
    return gp_buf_status(&list) == GP_OK && setenv("GPUPOOL_SERVER", (char *)list.data, 1) == 0 &&
           unsetenv("GPUPOOL_SERVERS_FILE") == 0;
}

static void
position_tell(uint64_t position, uint64_t *told_p)
{
    if (position == *told_p)
        return;
    *told_p = position;
    if (position == UINT64_MAX)
        fprintf(stderr, "gpupool run: nothing is free, waiting\n");
    else
        fprintf(stderr, "gpupool run: nothing is free, waiting, %" PRIu64 " before us\n", position);
}

/* Whoever is first in the line looks each second; true when *found_p has something. */
static bool
wait_for_one(const struct fe_config *config, uint64_t until, struct tool_found *found_p)
{
    const struct timespec pause = {.tv_sec = 1};
    struct tool_line *line = tool_line_join(config);
    uint64_t told = UINT64_MAX - 1, position;
    bool found = false;

    while (!found && gp_now_ns() < until) {
        position = line != NULL ? tool_line_position(line) : UINT64_MAX;
        position_tell(position, &told);
        if (position == 0 || position == UINT64_MAX) {
            struct tool_found now;

            if (tool_find(config, &now) && now.fit + now.together > 0) {
                tool_found_fini(found_p);
                *found_p = now;
                found = true;
                break;
            }
            tool_found_fini(&now);
        }
        nanosleep(&pause, NULL);
    }
    tool_line_leave(line);
    return found;
}

static int
choose(const struct fe_config *config)
{
    struct tool_found found;
    int rc = TOOL_FAILED;
    bool known = tool_find(config, &found);

    if (!known)
        fprintf(stderr, "gpupool run: %s\n", found.why);
    if (known && (found.fit + found.together > 0 ||
                  (config->wait_ns > 0 &&
                   wait_for_one(config, gp_deadline_after(gp_now_ns(), config->wait_ns), &found))))
        rc = servers_export(&found) ? -1 : TOOL_FAILED;
    else if (known) {
        fprintf(stderr, "gpupool run: no server has what is asked for%s\n",
                config->wait_ns > 0 ? ", and the time to wait is over" : "; --wait 10m waits");
        tool_found_print(config, &found, stderr);
    }
    tool_found_fini(&found);
    return rc;
}

/* The user has said which servers to use together: the library takes of them what is needed. */
static bool
joined(const struct fe_config *config)
{
    for (size_t i = 0; i < config->server_count; i++)
        if (config->together[i])
            return true;
    return false;
}

int
tool_choose(void)
{
    struct fe_config config;
    enum gp_status status = fe_config_load(&config);
    int rc = -1;

    if (status != GP_OK && status != GP_ERR_NOT_FOUND)
        rc = TOOL_USAGE; /* logged */
    else if (!joined(&config) &&
             (config.etcd_count > 0 || (config.has_need && config.server_count > 1)))
        rc = choose(&config);
    fe_config_fini(&config);
    return rc;
}
