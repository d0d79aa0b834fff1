/* frontend/tool/choose.c -- gpupool place, and what gpupool run does before the program starts */
#include "frontend/tool/choose.h"

#include "frontend/core/connect.h"
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

#define SOON_NS   (20 * GP_NS_PER_MS) /* changes that come together are one */
#define BEHIND_NS GP_NS_PER_MS        /* for each who is before us */
#define ASIDE_NS  GP_NS_PER_S         /* a server that has what nobody had */
#define ASIDE     (UINT64_MAX - 1)    /* a position that is none */

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
        {"gpus", "GPUPOOL_GPUS"},
        {"model", "GPUPOOL_MODEL"},
        {"memory", "GPUPOOL_MEMORY"},
        {"share", "GPUPOOL_SHARE"},
        {"priority", "GPUPOOL_PRIORITY"},
        {"region", "GPUPOOL_REGION"},
        {"prefer", "GPUPOOL_PREFER"},
        {"order", "GPUPOOL_ORDER"},
        {"wait", "GPUPOOL_WAIT"},
        {"etcd", "GPUPOOL_ETCD"},
        {"servers-file", "GPUPOOL_SERVERS_FILE"},
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
        if (tool_find(&config, NULL, &found)) {
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
    if (position == ASIDE)
        fprintf(stderr, "gpupool run: no server has what is asked for even when nobody else is "
                        "there; waiting for one\n");
    else if (position == UINT64_MAX)
        fprintf(stderr, "gpupool run: nothing is free, waiting\n");
    else
        fprintf(stderr, "gpupool run: nothing is free, waiting, %" PRIu64 " before us\n", position);
}

enum look {
    LOOK_FOUND,
    LOOK_NOTHING,
    LOOK_BLIND, /* found.why */
};

/* *found_p has what was seen last, for the table too. */
static enum look
look(const struct fe_config *config, struct tool_line *line, struct tool_found *found_p)
{
    bool known;

    tool_found_fini(found_p);
    known = tool_find(config, line, found_p);
    if (!known)
        return LOOK_BLIND;
    return found_p->fit + found_p->together > 0 ? LOOK_FOUND : LOOK_NOTHING;
}

/* Until it is worth looking again, end at the latest. Who is told of changes spends a fifth of his
 * time on looking at most, the less the more are before him; others look after a part of what they
 * have waited. */
static void
wait_for_change(struct tool_line *line, uint64_t position, uint64_t began, uint64_t looked,
                uint64_t end)
{
    bool first = position == 0 || position >= ASIDE;
    uint64_t now = gp_now_ns(), after = now + gp_max_u64(SOON_NS, 4 * (now - looked));

    if (position == ASIDE)
        after += ASIDE_NS;
    else if (!first)
        after += position * BEHIND_NS;
    if (now >= end)
        return;
    if (line == NULL || !tool_line_wait(line, first, (end - now) / GP_NS_PER_MS + 1))
        after = now + fe_wait_pause_ns(now - began);
    after = gp_min_u64(after, end);
    now = gp_now_ns();
    if (now < after)
        gp_sleep_ns(after - now);
}

/* Who is first and waits for what no server has holds nobody up. Where there are no servers nothing
 * can be said. */
static bool
stands_aside(const struct fe_config *config, struct tool_line *line, const struct tool_found *found)
{
    bool aside = found->count > 0 && !tool_found_ever(config, found);

    return line != NULL && tool_line_aside(line, aside) && aside;
}

/* In line: who is first looks, and looks again when something changes. */
static enum look
wait_for_one(const struct fe_config *config, struct tool_found *found_p)
{
    uint64_t began = gp_now_ns(), end = gp_deadline_after(began, config->wait_ns);
    uint64_t told = UINT64_MAX - 2, position, looked;
    struct tool_line *line = tool_line_join(config);
    enum look seen = LOOK_NOTHING;
    bool aside = false;

    for (bool once = false; !once || gp_now_ns() < end; once = true) {
        looked = gp_now_ns();
        position = line != NULL ? tool_line_position(line) : UINT64_MAX;
        if (position == 0 || position == UINT64_MAX || aside) {
            seen = look(config, line, found_p);
            if (seen == LOOK_FOUND && aside && position > 0 && position < ASIDE)
                seen = LOOK_NOTHING; /* those before us may want it */
            if (seen == LOOK_FOUND || (seen == LOOK_BLIND && !once))
                break;
            if (seen == LOOK_NOTHING)
                aside = stands_aside(config, line, found_p);
        }
        if (aside)
            position = ASIDE;
        position_tell(position, &told);
        wait_for_change(line, position, began, looked, end);
    }
    if (seen == LOOK_FOUND && line != NULL)
        tool_line_served(line, found_p);
    tool_line_leave(line);
    if (seen == LOOK_NOTHING && found_p->list == NULL) /* never first */
        seen = look(config, NULL, found_p) == LOOK_BLIND ? LOOK_BLIND : LOOK_NOTHING;
    return seen;
}

static int
choose(const struct fe_config *config)
{
    struct tool_found found = {0};
    int rc = TOOL_FAILED;

    switch (config->wait_ns > 0 ? wait_for_one(config, &found) : look(config, NULL, &found)) {
    case LOOK_FOUND:
        rc = servers_export(&found) ? -1 : TOOL_FAILED;
        break;
    case LOOK_BLIND:
        fprintf(stderr, "gpupool run: %s\n", found.why);
        break;
    case LOOK_NOTHING:
        fprintf(stderr, "gpupool run: no server has what is asked for%s\n",
                config->wait_ns > 0 ? ", and the time to wait is over" : "; --wait 10m waits");
        tool_found_print(config, &found, stderr);
        break;
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
