/* frontend/tool/get.c -- gpupool get, gpupool describe */
#include "frontend/tool/list.h"

#include "protocol/base/clock.h"
#include "protocol/base/util.h"

#include <stdio.h>
#include <string.h>

static const struct gp_option get_options[] = {
    {"output", "FORMAT", GP_OPT_ENUM, "table", "table, wide, json or yaml (-o)", NULL, NULL,
     "table|wide|json|yaml"},
    {"watch", NULL, GP_OPT_FLAG, NULL, "again every --interval until Ctrl-C (-w)"},
    {"interval", "TIME", GP_OPT_TIME, "2s", "of --watch"},
    {"count", "NUMBER", GP_OPT_NUMBER, NULL, "end --watch after so many times"},
    TOOL_ADMIN_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set get_set = {"gpupool get", "gpus|servers|sessions|tenants", NULL,
                                             NULL, get_options};
static const char get_examples[] =
    "\nExamples:\n"
    "  gpupool get gpus\n"
    "  gpupool get servers --server tls://gpu1.example:7470,tls://gpu2.example:7470\n"
    "  gpupool get sessions -o json | jq '.[] | select(.idle_ms > 3600000)'\n"
    "  gpupool get tenants -o wide -w\n"
    "Exit code 0, 1: a server did not answer (the others are shown), 2: wrong usage.\n";

static const struct gp_option describe_options[] = {
    TOOL_ADMIN_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set describe_set = {
    "gpupool describe", "gpu|server|session|tenant NAME", NULL, NULL, describe_options};
static const char describe_examples[] =
    "\nExamples:\n"
    "  gpupool describe server gpu1\n"
    "  gpupool describe gpu gpu1/0\n"
    "  gpupool describe gpu GPU-5f0c\n"
    "  gpupool describe session 8f3a77c0d1e2f401\n"
    "  gpupool describe tenant research\n"
    "Exit code 0, 1: not found or a server did not answer, 2: wrong usage.\n";

static enum tool_format
format_of(const char *text)
{
    static const char *const names[] = {"table", "wide", "json", "yaml"};

    for (size_t i = 0; i < GP_ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0)
            return (enum tool_format)i;
    return TOOL_TABLE;
}

/* False if standard output is gone. */
static bool
flush(struct gp_buf *text)
{
    bool ok = gp_buf_status(text) == GP_OK && fwrite(text->data, 1, text->len, stdout) == text->len;

    return fflush(stdout) == 0 && ok;
}

static bool
get_once(struct tool_targets *targets, enum tool_kind kind, enum tool_format format, size_t *bad_p)
{
    const struct wire_admin_request request = {.what = WIRE_ADMIN_LIST,
                                               .parts = tool_kind_part(kind)};
    GP_AUTO_BUF struct gp_buf text = {0};
    struct tool_rows rows;
    bool ok;

    (void)tool_ask(targets, &request);
    *bad_p = tool_complain(targets, "get");
    tool_list(targets, kind, &rows);
    tool_rows_print(&rows, format, &text);
    ok = flush(&text);
    tool_rows_fini(&rows);
    return ok;
}

int
tool_get(int argc, char **argv)
{
    struct tool_targets targets;
    char *names[1];
    struct gp_options *o;
    enum tool_kind kind;
    uint64_t left, interval;
    size_t count = 0, bad = 0;
    int rc = tool_arguments(&get_set, get_examples, argc, argv, &o, names, 1, &count);

    if (rc >= 0)
        return rc;
    if (count != 1 || !tool_kind_parse(names[0], &kind)) {
        fprintf(stderr, "gpupool get: gpus, servers, sessions or tenants?\n");
        gp_options_destroy(o);
        return TOOL_USAGE;
    }
    if (!tool_targets_find(o, &targets)) {
        gp_options_destroy(o);
        return TOOL_FAILED;
    }
    interval = gp_options_u64(o, "interval");
    left = gp_options_is_set(o, "count") ? gp_options_u64(o, "count") : UINT64_MAX;
    if (!gp_options_flag(o, "watch"))
        left = 1;
    while (left-- > 0 && get_once(&targets, kind, format_of(gp_options_text(o, "output")), &bad) &&
           left > 0)
        gp_sleep_ns(interval);
    tool_targets_fini(&targets);
    gp_options_destroy(o);
    return bad > 0 ? TOOL_FAILED : 0;
}

/* -- describe ---------------------------------------------------------------------------------- */

/* The sessions that belong to what is described. */
static void
sessions_of(const struct tool_targets *targets, enum tool_kind kind, const char *name,
            struct gp_buf *out)
{
    struct tool_rows rows;

    tool_list(targets, TOOL_SESSIONS, &rows);
    gp_buf_printf(out, "sessions:\n");
    for (size_t r = 0; r < tool_rows_count(&rows); r++) {
        const struct tool_cell *cells = &rows.cells[r * rows.column_count];
        const char *of = cells[kind == TOOL_TENANTS ? 2 : 1].text;

        if (of != NULL && strcmp(of, name) == 0)
            gp_buf_printf(out, "  %s  %s  %s\n", cells[0].text, cells[3].text, cells[4].text);
    }
    tool_rows_fini(&rows);
}

static size_t
describe(struct tool_targets *targets, enum tool_kind kind, const char *name)
{
    GP_AUTO_BUF struct gp_buf text = {0};
    struct tool_rows rows;
    size_t found = 0;

    tool_list(targets, kind, &rows);
    for (size_t r = 0; r < tool_rows_count(&rows); r++) {
        if (!tool_list_is(&rows, kind, r, name))
            continue;
        if (found++ > 0)
            gp_buf_append_text(&text, "\n");
        tool_rows_describe(&rows, r, &text);
        if (kind == TOOL_SERVERS)
            sessions_of(targets, kind, rows.cells[r * rows.column_count].text, &text);
    }
    if (kind == TOOL_TENANTS && found > 0)
        sessions_of(targets, kind, name, &text);
    tool_rows_fini(&rows);
    return found > 0 && flush(&text) ? found : 0;
}

int
tool_describe(int argc, char **argv)
{
    const struct wire_admin_request request = {.what = WIRE_ADMIN_LIST,
                                               .parts = WIRE_ADMIN_GPUS | WIRE_ADMIN_SESSIONS |
                                                        WIRE_ADMIN_TENANTS};
    struct tool_targets targets;
    struct gp_options *o;
    enum tool_kind kind;
    char *names[2];
    size_t count = 0, bad;
    int rc = tool_arguments(&describe_set, describe_examples, argc, argv, &o, names, 2, &count);

    if (rc >= 0)
        return rc;
    if (count != 2 || !tool_kind_parse(names[0], &kind)) {
        fprintf(stderr, "gpupool describe: gpu, server, session or tenant, and its name\n");
        gp_options_destroy(o);
        return TOOL_USAGE;
    }
    rc = TOOL_FAILED;
    if (tool_targets_find(o, &targets)) {
        (void)tool_ask(&targets, &request);
        bad = tool_complain(&targets, "describe");
        if (describe(&targets, kind, names[1]) == 0)
            fprintf(stderr, "gpupool describe: no %s is called %s\n", names[0], names[1]);
        else if (bad == 0)
            rc = 0;
        tool_targets_fini(&targets);
    }
    gp_options_destroy(o);
    return rc;
}
