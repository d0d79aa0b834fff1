/* frontend/tool/operate.c -- gpupool drain, kick, quota */
#include "frontend/tool/admin.h"

#include "protocol/base/clock.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAMES_MAX 32

/* What those who answered did, together. */
static uint64_t
affected_sum(const struct tool_targets *targets)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < targets->count; i++)
        if (targets->list[i].answered)
            sum += targets->list[i].answer.affected;
    return sum;
}

/* -- drain ------------------------------------------------------------------------------------- */

static const struct gp_option drain_options[] = {
    {"deadline", "TIME", GP_OPT_TIME, NULL,
     "end the sessions that are still there then; unset: they end in their own time"},
    {"stop", NULL, GP_OPT_FLAG, NULL, "and end the server when its last session has ended"},
    {"undo", NULL, GP_OPT_FLAG, NULL, "take new sessions again"},
    {"wait", NULL, GP_OPT_FLAG, NULL, "until no session is left"},
    TOOL_ADMIN_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set drain_set = {"gpupool drain", "[SERVER]...", NULL, NULL,
                                               drain_options};
static const char drain_examples[] =
    "\nA drained server takes no new sessions: clients go to the next one. Who has a session keeps "
    "it.\n\nExamples:\n"
    "  gpupool drain                                   the server of this machine\n"
    "  gpupool drain tls://gpu1.example:7470 --deadline 1h --wait\n"
    "  gpupool drain --undo\n"
    "Exit code 0, 1: a server did not do it, 2: wrong usage.\n";

/* SERVERs take the place of --server. */
static bool
servers_set(char **names, size_t count)
{
    GP_AUTO_BUF struct gp_buf list = {0};

    for (size_t i = 0; i < count; i++)
        gp_buf_printf(&list, "%s%s", i > 0 ? "," : "", names[i]);
    gp_buf_append(&list, "", 1);
    return gp_buf_status(&list) == GP_OK && setenv("GPUPOOL_SERVER", (char *)list.data, 1) == 0;
}

static bool
targets_of(const struct gp_options *o, char **names, size_t count, struct tool_targets *targets_p)
{
    if (count > 0 && gp_options_is_set(o, "socket")) {
        fprintf(stderr, "gpupool drain: either --socket or names of servers\n");
        return false;
    }
    if (count == 0)
        return tool_targets_find(o, targets_p);
    return servers_set(names, count) && tool_targets_configured(targets_p);
}

static int
drain_wait(struct tool_targets *targets)
{
    const struct wire_admin_request look = {.what = WIRE_ADMIN_LIST, .parts = WIRE_ADMIN_SERVER};

    for (;;) {
        uint64_t left = 0;

        (void)tool_ask(targets, &look); /* one that has ended answers no more, and has none left */
        for (size_t i = 0; i < targets->count; i++)
            if (targets->list[i].answered)
                left += targets->list[i].answer.server.sessions +
                        targets->list[i].answer.server.opening;
        if (left == 0)
            return 0;
        gp_sleep_ns(200 * GP_NS_PER_MS);
    }
}

int
tool_drain(int argc, char **argv)
{
    struct wire_admin_request request = {.what = WIRE_ADMIN_DRAIN};
    struct tool_targets targets;
    struct gp_options *o;
    char *names[NAMES_MAX];
    size_t count = 0;
    int rc = tool_arguments(&drain_set, drain_examples, argc, argv, &o, names, NAMES_MAX, &count);

    if (rc >= 0)
        return rc;
    request.deadline_ms = gp_options_u64(o, "deadline") / GP_NS_PER_MS;
    request.stop = gp_options_flag(o, "stop");
    request.undo = gp_options_flag(o, "undo");
    if (request.undo && (request.stop || request.deadline_ms != 0)) {
        fprintf(stderr, "gpupool drain: --undo goes alone\n");
        gp_options_destroy(o);
        return TOOL_USAGE;
    }
    rc = TOOL_FAILED;
    if (targets_of(o, names, count, &targets)) {
        (void)tool_ask(&targets, &request);
        rc = tool_complain(&targets, "drain") > 0 ? TOOL_FAILED : 0;
        for (size_t i = 0; i < targets.count; i++)
            if (targets.list[i].answered && targets.list[i].answer.code == WIRE_CODE_OK)
                printf("%s: %s, %u sessions\n", targets.list[i].name,
                       request.undo ? "serving" : "draining",
                       targets.list[i].answer.server.sessions);
        if (rc == 0 && gp_options_flag(o, "wait") && !request.undo)
            rc = drain_wait(&targets);
        tool_targets_fini(&targets);
    }
    gp_options_destroy(o);
    return rc;
}

/* -- kick -------------------------------------------------------------------------------------- */

static const struct gp_option kick_options[] = {
    {"tenant", "NAME", GP_OPT_TEXT, NULL, "all sessions of this tenant"},
    TOOL_ADMIN_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set kick_set = {"gpupool kick", "SESSION | --tenant NAME", NULL, NULL,
                                              kick_options};
static const char kick_examples[] =
    "\nThe program gets CUDA_ERROR_DEVICE_UNAVAILABLE and one line that says why.\n\nExamples:\n"
    "  gpupool kick 8f3a77c0d1e2f401\n"
    "  gpupool kick --tenant research\n"
    "Exit code 0, 1: there is no such session, or a server did not do it, 2: wrong usage.\n";

int
tool_kick(int argc, char **argv)
{
    struct wire_admin_request request = {.what = WIRE_ADMIN_KICK};
    struct gp_options *o;
    const char *tenant;
    char *names[1], *end = NULL;
    uint64_t affected;
    size_t count = 0;
    int rc = tool_arguments(&kick_set, kick_examples, argc, argv, &o, names, 1, &count);

    if (rc >= 0)
        return rc;
    tenant = gp_options_text(o, "tenant");
    if (count == 1)
        request.session_id = strtoull(names[0], &end, 16);
    if (tenant != NULL)
        snprintf(request.tenant, sizeof(request.tenant), "%s", tenant);
    if ((count == 1) == (tenant != NULL) ||
        (count == 1 && (request.session_id == 0 || *end != '\0'))) {
        fprintf(stderr, "gpupool kick: a session's id (gpupool get sessions), or --tenant\n");
        rc = TOOL_USAGE;
    } else {
        struct tool_targets targets;

        rc = TOOL_FAILED;
        if (tool_targets_find(o, &targets)) {
            /* On which server it is, nobody need know. */
            (void)tool_ask(&targets, &request);
            affected = affected_sum(&targets);
            if (affected == 0)
                (void)tool_complain(&targets, "kick");
            else
                rc = 0;
            printf("%" PRIu64 " sessions are ended\n", affected);
            tool_targets_fini(&targets);
        }
    }
    gp_options_destroy(o);
    return rc;
}

/* -- quota ------------------------------------------------------------------------------------- */

static const struct gp_option quota_options[] = {
    TOOL_ADMIN_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set quota_set = {"gpupool quota", "TENANT KEY=VALUE...", NULL, NULL,
                                               quota_options};
static const char quota_examples[] =
    "\nKeys: memory, memory-total, share, floor, policy, priority, sessions, max-kernel-time,\n"
    "max-hold-time, as in the server's configuration. All are set or none, at once, for running\n"
    "sessions too, until the server starts or reads its configuration again.\n\nExamples:\n"
    "  gpupool quota research memory=16g share=40\n"
    "  gpupool quota batch priority=low sessions=8 --server tls://gpu1.example:7470\n"
    "Exit code 0, 1: a server did not do it, 2: wrong usage.\n";

static bool
setting_take(char *text, struct wire_admin_setting *setting)
{
    char *equals = strchr(text, '=');

    if (equals == NULL || equals == text || equals[1] == '\0' ||
        (size_t)(equals - text) >= sizeof(setting->key) ||
        strlen(equals + 1) >= sizeof(setting->value))
        return false;
    snprintf(setting->key, sizeof(setting->key), "%.*s", (int)(equals - text), text);
    snprintf(setting->value, sizeof(setting->value), "%s", equals + 1);
    return true;
}

/* The exit code; the settings that changed, of all servers. */
static int
quota_change(const struct gp_options *o, const struct wire_admin_request *request,
             uint64_t *affected_p)
{
    struct tool_targets targets;
    size_t bad;

    if (!tool_targets_find(o, &targets))
        return TOOL_FAILED;
    (void)tool_ask(&targets, request);
    bad = tool_complain(&targets, "quota");
    *affected_p = affected_sum(&targets);
    tool_targets_fini(&targets);
    return bad > 0 ? TOOL_FAILED : 0;
}

int
tool_quota(int argc, char **argv)
{
    struct wire_admin_setting settings[WIRE_ADMIN_SETTINGS_MAX];
    struct wire_admin_request request = {.what = WIRE_ADMIN_QUOTA, .settings = settings};
    char *names[1 + WIRE_ADMIN_SETTINGS_MAX];
    struct gp_options *o;
    uint64_t affected;
    size_t count = 0;
    int rc = tool_arguments(&quota_set, quota_examples, argc, argv, &o, names, GP_ARRAY_LEN(names),
                            &count);
    bool ok;

    if (rc >= 0)
        return rc;
    ok = count >= 2;
    for (size_t i = 1; i < count && ok; i++)
        ok = setting_take(names[i], &settings[request.setting_count++]);
    if (!ok || strlen(names[0]) >= sizeof(request.tenant)) {
        fprintf(stderr, "gpupool quota: a tenant's name and KEY=VALUE\n");
        rc = TOOL_USAGE;
    } else {
        snprintf(request.tenant, sizeof(request.tenant), "%s", names[0]);
        rc = quota_change(o, &request, &affected);
        if (rc == 0)
            printf("%" PRIu64 " settings of %s changed\n", affected, names[0]);
    }
    gp_options_destroy(o);
    return rc;
}
