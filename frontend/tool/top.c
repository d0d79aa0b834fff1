/* frontend/tool/top.c -- gpupool top: the pool in a terminal, as it is now */
#include "frontend/tool/admin.h"
#include "frontend/tool/rows.h"

#include "protocol/base/clock.h"
#include "protocol/base/util.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>

#define BAR_WIDTH   24
#define SCREEN_ON   "\033[?1049h\033[?25l"
#define SCREEN_OFF  "\033[?25h\033[?1049l"
#define SCREEN_HOME "\033[H"
#define LINE_END    "\033[K\n"
#define REST_CLEAR  "\033[J"

static const struct gp_option options[] = {
    {"interval", "TIME", GP_OPT_TIME, "1s", "between two looks"},
    {"count", "NUMBER", GP_OPT_NUMBER, NULL,
     "end after so many; 1 where standard output is no terminal"},
    TOOL_ADMIN_OPTIONS,
    TOOL_CLIENT_OPTIONS,
    {NULL},
};
static const struct gp_option_set set = {"gpupool top", "", NULL, NULL, options};
static const char examples[] =
    "\nq or Ctrl-C ends it. Calls and bytes are those of a second.\n\nExamples:\n"
    "  gpupool top\n"
    "  gpupool top --server tls://gpu1.example:7470,tls://gpu2.example:7470\n"
    "  gpupool top --count 2 > pool.txt        without a terminal\n"
    "Exit code 0, 1: no server answered, 2: wrong usage.\n";

/* What one session had counted when it was looked at last. */
struct seen {
    uint64_t id, calls, waits, in, out;
};

/* A line of the screen's list of sessions. */
struct busy {
    const struct wire_admin_session *session;
    const char *server;
    double calls, waits, in, out; /* in a second */
};

struct top {
    struct tool_targets targets;
    struct seen *before;
    size_t before_count;
    uint64_t before_ns;
    bool screen; /* a terminal */
    int rows, columns;
    struct gp_buf text;
    int lines;
};

/* -- the screen -------------------------------------------------------------------------------- */

static void line(struct top *top, const char *fmt, ...) GP_PRINTF(2, 3);

/* Cut to the screen's width; nothing below its last line. */
static void
line(struct top *top, const char *fmt, ...)
{
    char text[512];
    va_list args;

    if (top->screen && top->lines >= top->rows - 1)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (top->columns > 0 && top->columns < (int)sizeof(text))
        text[top->columns] = '\0';
    gp_buf_printf(&top->text, "%s%s", text, top->screen ? LINE_END : "\n");
    top->lines++;
}

static void
bar(uint64_t used, uint64_t promised, uint64_t total, char out[BAR_WIDTH + 1])
{
    uint64_t full = total != 0 ? used * BAR_WIDTH / total : 0;
    uint64_t half = total != 0 ? promised * BAR_WIDTH / total : 0;

    for (uint64_t i = 0; i < BAR_WIDTH; i++)
        out[i] = i < full ? '#' : i < half ? '-' : '.';
    out[BAR_WIDTH] = '\0';
}

static void
rate_text(double bytes, char out[32])
{
    tool_bytes_text(bytes > 0 ? (uint64_t)bytes : 0, out);
}

static void
show_gpus(struct top *top)
{
    line(top, "%-16s %3s %-22s %-*s %22s %5s", "SERVER", "GPU", "MODEL", BAR_WIDTH,
         "MEMORY (#used -promised)", "", "SESS");
    for (size_t i = 0; i < top->targets.count; i++) {
        const struct tool_target *t = &top->targets.list[i];

        if (!t->answered)
            line(top, "%-16.16s %s", t->name, t->why);
        for (uint32_t g = 0; t->answered && g < t->answer.gpu_count; g++) {
            const struct wire_admin_gpu *gpu = &t->answer.gpus[g];
            char used[32], total[32], fill[BAR_WIDTH + 1];

            bar(gpu->used_bytes, gpu->promised_bytes, gpu->total_bytes, fill);
            tool_bytes_text(gpu->used_bytes, used);
            tool_bytes_text(gpu->total_bytes, total);
            line(top, "%-16.16s %3u %-22.22s %s %10s /%10s %5u%s", t->answer.server.name,
                 gpu->index, gpu->name, fill, used, total, gpu->sessions,
                 t->answer.server.state != WIRE_ADMIN_SERVING ? "  draining" : "");
        }
    }
}

static void
show_tenants(struct top *top)
{
    line(top, "%s", "");
    line(top, "%-16s %-16s %-8s %5s %9s %12s %12s", "TENANT", "SERVER", "PRIORITY", "SHARE",
         "SESSIONS", "USED", "PROMISED");
    for (size_t i = 0; i < top->targets.count; i++) {
        const struct tool_target *t = &top->targets.list[i];

        for (uint32_t n = 0; t->answered && n < t->answer.tenant_count; n++) {
            const struct wire_admin_tenant *tenant = &t->answer.tenants[n];
            char used[32], promised[32];

            tool_bytes_text(tool_used_sum(tenant->uses, tenant->use_count), used);
            tool_bytes_text(tool_promised_sum(tenant->uses, tenant->use_count), promised);
            line(top, "%-16.16s %-16.16s %-8s %4u%% %9u %12s %12s",
                 tenant->name[0] != '\0' ? tenant->name : "(nobody's)", t->answer.server.name,
                 tenant->priority[0] != '\0' ? tenant->priority : "-", tenant->share,
                 tenant->sessions, used, promised);
        }
    }
}

/* -- sessions ---------------------------------------------------------------------------------- */

static int
by_traffic(const void *x, const void *y)
{
    const struct busy *a = x, *b = y;
    double first = a->calls + a->in + a->out, second = b->calls + b->in + b->out;

    return (first < second) - (first > second);
}

static const struct seen *
seen_before(const struct top *top, uint64_t id)
{
    static const struct seen none;

    for (size_t i = 0; i < top->before_count; i++)
        if (top->before[i].id == id)
            return &top->before[i];
    return &none;
}

/* All sessions with what they did since the last look; false without memory. */
static bool
sessions_gather(struct top *top, struct busy **list_p, size_t *count_p)
{
    uint64_t now = gp_now_ns();
    double seconds = top->before_ns != 0 ? (double)(now - top->before_ns) / 1e9 : 0;
    size_t count = 0, n = 0;
    struct busy *list;
    struct seen *seen;

    for (size_t i = 0; i < top->targets.count; i++)
        count += top->targets.list[i].answered ? top->targets.list[i].answer.session_count : 0;
    list = calloc(count + 1, sizeof(*list));
    seen = calloc(count + 1, sizeof(*seen));
    if (list == NULL || seen == NULL) {
        free(list);
        free(seen);
        return false;
    }
    for (size_t i = 0; i < top->targets.count; i++) {
        const struct wire_admin_answer *a = &top->targets.list[i].answer;

        for (uint32_t k = 0; top->targets.list[i].answered && k < a->session_count; k++, n++) {
            const struct wire_admin_session *s = &a->sessions[k];
            const struct seen *was = seen_before(top, s->id);

            seen[n] = (struct seen){s->id, tool_calls_sum(&s->counters), s->counters.waits,
                                    s->counters.bytes_in, s->counters.bytes_out};
            list[n] = (struct busy){.session = s, .server = a->server.name};
            if (was->id == 0 || seconds <= 0)
                continue;
            list[n].calls = (double)(seen[n].calls - was->calls) / seconds;
            list[n].waits = (double)(seen[n].waits - was->waits) / seconds;
            list[n].in = (double)(seen[n].in - was->in) / seconds;
            list[n].out = (double)(seen[n].out - was->out) / seconds;
        }
    }
    free(top->before);
    top->before = seen;
    top->before_count = n;
    top->before_ns = now;
    qsort(list, n, sizeof(*list), by_traffic);
    *list_p = list;
    *count_p = n;
    return true;
}

static void
show_sessions(struct top *top)
{
    GP_AUTO_FREE struct busy *list = NULL;
    size_t count = 0;

    if (!sessions_gather(top, &list, &count))
        return;
    line(top, "%s", "");
    line(top, "%-16s %-14s %-14s %-16s %6s %10s %9s %8s %11s %11s", "SESSION", "TENANT", "SERVER",
         "PROGRAM", "IDLE", "MEMORY", "CALLS/s", "WAITS/s", "IN/s", "OUT/s");
    for (size_t i = 0; i < count; i++) {
        const struct wire_admin_session *s = list[i].session;
        char idle[32], memory[32], in[32], out[32];

        tool_age_text(s->idle_ms, idle);
        tool_bytes_text(tool_used_sum(s->uses, s->use_count), memory);
        rate_text(list[i].in, in);
        rate_text(list[i].out, out);
        line(top, "%016" PRIx64 " %-14.14s %-14.14s %-16.16s %6s %10s %9.0f %8.0f %11s %11s", s->id,
             s->tenant[0] != '\0' ? s->tenant : "-", list[i].server, s->program, idle, memory,
             list[i].calls, list[i].waits, in, out);
    }
}

/* -- the loop ---------------------------------------------------------------------------------- */

static void
size_get(struct top *top)
{
    struct winsize size;

    top->rows = 24;
    top->columns = 0;
    if (top->screen && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 4) {
        top->rows = size.ws_row;
        top->columns = size.ws_col;
    }
}

/* False if nobody answers, or standard output is gone. */
static bool
look(struct top *top)
{
    const struct wire_admin_request request = {.what = WIRE_ADMIN_LIST,
                                               .parts = WIRE_ADMIN_GPUS | WIRE_ADMIN_SESSIONS |
                                                        WIRE_ADMIN_TENANTS};
    size_t answered = tool_ask(&top->targets, &request);
    time_t now = time(NULL);
    char clock[16];
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
    size_get(top);
    gp_buf_reset(&top->text);
    top->lines = 0;
    if (top->screen)
        gp_buf_append_text(&top->text, SCREEN_HOME);
    line(top, "gpupool  %s  %zu of %zu servers", clock, answered, top->targets.count);
    line(top, "%s", "");
    show_gpus(top);
    show_tenants(top);
    show_sessions(top);
    if (top->screen)
        gp_buf_append_text(&top->text, REST_CLEAR);
    if (gp_buf_status(&top->text) == GP_OK)
        (void)fwrite(top->text.data, 1, top->text.len, stdout);
    return fflush(stdout) == 0 && answered > 0;
}

/* Wait for the next look; false: the user has seen enough. */
static bool
wait_next(uint64_t interval_ns, int signals)
{
    struct pollfd polls[] = {{.fd = signals, .events = POLLIN},
                             {.fd = STDIN_FILENO, .events = POLLIN}};
    uint64_t until = gp_deadline_after(gp_now_ns(), interval_ns);
    char key;

    for (;;) {
        int n = poll(polls, isatty(STDIN_FILENO) ? 2 : 1, gp_deadline_poll_ms(gp_now_ns(), until));

        if (n == 0)
            return true;
        if (n < 0 || polls[0].revents != 0)
            return false;
        if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q')
            return false;
    }
}

static void
run(struct top *top, uint64_t interval, uint64_t left)
{
    struct termios before, raw;
    bool keys = top->screen && tcgetattr(STDIN_FILENO, &before) == 0;
    sigset_t ends;
    int signals;

    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signals = signalfd(-1, &ends, SFD_CLOEXEC);
    if (keys) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (top->screen)
        fputs(SCREEN_ON, stdout);
    while (left-- > 0 && look(top) && left > 0 && wait_next(interval, signals))
        ;
    if (top->screen)
        fputs(SCREEN_OFF, stdout);
    if (keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    fflush(stdout);
    close(signals);
}

int
tool_top(int argc, char **argv)
{
    struct top top = {.screen = isatty(STDOUT_FILENO) != 0};
    struct gp_options *o;
    uint64_t left;
    size_t count = 0;
    int rc = tool_arguments(&set, examples, argc, argv, &o, NULL, 0, &count);

    if (rc >= 0)
        return rc;
    rc = TOOL_FAILED;
    if (tool_targets_find(o, &top.targets)) {
        left = top.screen ? UINT64_MAX : 1;
        if (gp_options_is_set(o, "count"))
            left = gp_options_u64(o, "count");
        run(&top, gp_options_u64(o, "interval"), left);
        rc = tool_complain(&top.targets, "top") == top.targets.count ? TOOL_FAILED : 0;
        tool_targets_fini(&top.targets);
    }
    free(top.before);
    gp_buf_fini(&top.text);
    gp_options_destroy(o);
    return rc;
}
