/* frontend/tool/report.c -- gpupool report: how much ran where, for whom */
#include "frontend/tool/list.h"

#include "protocol/base/parse.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct gp_option options[] = {
    {"since", "WHEN", GP_OPT_TEXT, "30d", "from this day on: 2026-11-01, or 30d: so many days ago"},
    {"until", "WHEN", GP_OPT_TEXT, "0d", "to this day, and with it"},
    {"output", "FORMAT", GP_OPT_ENUM, "table",
     "table: a row for each tenant and class of cost; wide: for each server too; json or yaml (-o)",
     NULL, NULL, "table|wide|json|yaml"},
    TOOL_ADMIN_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set set = {"gpupool report", "", NULL, NULL, options};
static const char examples[] =
    "\nGPU time is how long sessions were open, times the GPUs on which they had memory; servers "
    "keep\n"
    "it by days (UTC), over restarts where they have a place for it (gpupoold --accounts).\n"
    "\nExamples:\n"
    "  gpupool report --since 7d\n"
    "  gpupool report --since 2026-10-01 --until 2026-10-31 -o wide\n"
    "  gpupool report -o json | jq 'map(select(.cost == \"cloud\").gpu_ms) | add / 3600000'\n"
    "Exit code 0, 1: a server did not answer (the others are shown), 2: wrong usage.\n";

static const struct tool_column columns[] = {
    {"TENANT", "tenant", false},   {"COST", "cost", false},         {"REGION", "region", true},
    {"SERVER", "server", true},    {"SESSIONS", "sessions", false}, {"GPU TIME", "gpu_ms", false},
    {"OPEN", "session_ms", false}, {"LAUNCHES", "launches", false}, {"CALLS", "calls", true},
    {"IN", "bytes_in", false},     {"OUT", "bytes_out", false},     {0},
};

/* A row, or the sum of several. */
struct line {
    const char *tenant, *cost, *region, *server;
    struct wire_admin_account sum;
};

static const char *
cost_of(const struct wire_admin_answer *a)
{
    return a->server.cost[0] != '\0' ? a->server.cost : "onprem"; /* an older server says nothing */
}

static void
add(struct wire_admin_account *sum, const struct wire_admin_account *one)
{
    sum->sessions += one->sessions;
    sum->session_ms += one->session_ms;
    sum->gpu_ms += one->gpu_ms;
    sum->launches += one->launches;
    sum->calls += one->calls;
    sum->bytes_in += one->bytes_in;
    sum->bytes_out += one->bytes_out;
}

static int
line_order(const void *left, const void *right)
{
    const struct line *a = left, *b = right;
    int by_name = strcmp(a->tenant, b->tenant);

    if (by_name == 0)
        by_name = strcmp(a->cost, b->cost);
    return by_name != 0 ? by_name : strcmp(a->server, b->server);
}

/* Programs get each server's row, people as many as they ask for. */
static size_t
lines_gather(const struct tool_targets *targets, bool by_server, struct line *lines)
{
    size_t count = 0;

    for (size_t i = 0; i < targets->count; i++) {
        const struct wire_admin_answer *a = &targets->list[i].answer;

        for (uint32_t k = 0; targets->list[i].answered && k < a->account_count; k++) {
            const struct wire_admin_account *from = &a->accounts[k];
            size_t at = 0;

            while (at < count && (by_server || strcmp(lines[at].tenant, from->tenant) != 0 ||
                                  strcmp(lines[at].cost, cost_of(a)) != 0))
                at++;
            if (at == count)
                lines[count++] = (struct line){.tenant = from->tenant,
                                               .cost = cost_of(a),
                                               .region = a->server.region,
                                               .server = a->server.name};
            add(&lines[at].sum, from);
        }
    }
    qsort(lines, count, sizeof(*lines), line_order);
    return count;
}

static void
line_put(const struct line *line, struct tool_rows *rows)
{
    tool_rows_text(rows, line->tenant);
    tool_rows_text(rows, line->cost);
    tool_rows_text(rows, line->region);
    tool_rows_text(rows, line->server);
    tool_rows_number(rows, TOOL_NUMBER, line->sum.sessions);
    tool_rows_number(rows, TOOL_AGE, line->sum.gpu_ms);
    tool_rows_number(rows, TOOL_AGE, line->sum.session_ms);
    tool_rows_number(rows, TOOL_NUMBER, line->sum.launches);
    tool_rows_number(rows, TOOL_NUMBER, line->sum.calls);
    tool_rows_number(rows, TOOL_BYTES, line->sum.bytes_in);
    tool_rows_number(rows, TOOL_BYTES, line->sum.bytes_out);
}

/* "onprem 3h12m (80.0 %), cloud 48m (20.0 %)" */
static void
share_put(const struct line *lines, size_t count, struct gp_buf *text)
{
    static const char *const costs[] = {"onprem", "cloud"};
    uint64_t of[GP_ARRAY_LEN(costs)] = {0}, all = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < GP_ARRAY_LEN(costs); c++)
            if (strcmp(lines[i].cost, costs[c]) == 0) {
                of[c] += lines[i].sum.gpu_ms;
                all += lines[i].sum.gpu_ms;
            }
    gp_buf_append_text(text, "\nGPU time: ");
    for (size_t c = 0; c < GP_ARRAY_LEN(costs); c++) {
        char age[32];

        tool_age_text(of[c], age);
        gp_buf_printf(text, "%s%s %s (%.1f %%)", c > 0 ? ", " : "", costs[c], age,
                      all != 0 ? 100.0 * (double)of[c] / (double)all : 0.0);
    }
    gp_buf_append_text(text, "\n");
}

static bool
print(const struct tool_targets *targets, const char *format)
{
    bool wide = strcmp(format, "table") != 0,
         people = strcmp(format, "table") == 0 || strcmp(format, "wide") == 0;
    GP_AUTO_BUF struct gp_buf text = {0};
    GP_AUTO_FREE struct line *lines = NULL;
    struct tool_rows rows;
    size_t count = 1;
    bool ok;

    for (size_t i = 0; i < targets->count; i++)
        count += targets->list[i].answer.account_count;
    lines = calloc(count, sizeof(*lines));
    if (lines == NULL)
        return false;
    count = lines_gather(targets, wide, lines);
    tool_rows_init(&rows, columns);
    for (size_t i = 0; i < count; i++)
        line_put(&lines[i], &rows);
    tool_rows_print(&rows,
                    !people ? strcmp(format, "json") == 0 ? TOOL_JSON : TOOL_YAML
                    : wide  ? TOOL_WIDE
                            : TOOL_TABLE,
                    &text);
    if (people)
        share_put(lines, count, &text);
    ok = gp_buf_status(&text) == GP_OK && fwrite(text.data, 1, text.len, stdout) == text.len;
    tool_rows_fini(&rows);
    return fflush(stdout) == 0 && ok;
}

/* "2026-11-01" or "30d" as 20261101; false for anything else. */
static bool
day_parse(const char *text, uint32_t *day_p)
{
    unsigned year, month, day;
    char digits[16], end;
    size_t n = strlen(text);
    struct tm tm;
    uint64_t ago;
    time_t then;

    if (sscanf(text, "%4u-%2u-%2u%c", &year, &month, &day, &end) == 3 && n == 10 && year >= 2000 &&
        month >= 1 && month <= 12 && day >= 1 && day <= 31) {
        *day_p = year * 10000 + month * 100 + day;
        return true;
    }
    if (n < 2 || n > sizeof(digits) - 1 || text[n - 1] != 'd')
        return false;
    snprintf(digits, sizeof(digits), "%.*s", (int)n - 1, text);
    if (gp_parse_u64(digits, &ago) != GP_OK || ago > 10000)
        return false;
    then = time(NULL) - (time_t)ago * 86400;
    if (gmtime_r(&then, &tm) == NULL)
        return false;
    *day_p = (uint32_t)((tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday);
    return true;
}

int
tool_report(int argc, char **argv)
{
    struct wire_admin_request request = {.what = WIRE_ADMIN_LIST, .parts = WIRE_ADMIN_ACCOUNTS};
    struct tool_targets targets;
    struct gp_options *o;
    char *none[1];
    size_t count = 0;
    int rc = tool_arguments(&set, examples, argc, argv, &o, none, 0, &count);

    if (rc >= 0)
        return rc;
    if (!day_parse(gp_options_text(o, "since"), &request.from_day) ||
        !day_parse(gp_options_text(o, "until"), &request.to_day)) {
        fprintf(stderr, "gpupool report: --since and --until are days: 2026-11-01, or 30d\n");
        gp_options_destroy(o);
        return TOOL_USAGE;
    }
    rc = TOOL_FAILED;
    if (tool_targets_find(o, &targets)) {
        (void)tool_ask(&targets, &request);
        if (tool_complain(&targets, "report") == 0)
            rc = 0;
        if (!print(&targets, gp_options_text(o, "output")))
            rc = TOOL_FAILED;
        tool_targets_fini(&targets);
    }
    gp_options_destroy(o);
    return rc;
}
