/* frontend/core/trace.c */
#include "frontend/core/trace.h"

#include "frontend/core/line.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/link/link.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUFFER_BYTES (64u << 10)
#define EVENT_BYTES  320u
#define CLIENT       1 /* processes of the trace */
#define SERVER       2 /* the first; the others follow */

_Atomic bool fe_trace_on;

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    int fd;
    off_t at; /* where the next event goes; the list's end stands there */
    size_t len;
    char *buffer;

    /* What is added to a server's clock to have ours; written before the server tells. */
    _Atomic uint64_t offset_ns[FE_SESSIONS_MAX];
} trace = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* --- the file --------------------------------------------------------------------- */

static void
write_all(const char *bytes, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(trace.fd, bytes, len, at);

        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
        at += n;
    }
}

/* lock held. The end is written too, and overwritten by what comes next. */
static void
flush(void)
{
    static const char end[] = "\n]}\n";
    size_t events = trace.len;

    if (events == 0)
        return;
    memcpy(trace.buffer + events, end, sizeof(end) - 1);
    write_all(trace.buffer, events + sizeof(end) - 1, trace.at);
    trace.at += (off_t)events;
    trace.len = 0;
}

static void put(const char *fmt, ...) GP_PRINTF(1, 2);

static void
put(const char *fmt, ...)
{
    va_list args;
    int n;

    pthread_mutex_lock(&trace.lock);
    if (trace.fd >= 0) {
        if (trace.len > BUFFER_BYTES - EVENT_BYTES)
            flush();
        va_start(args, fmt);
        n = vsnprintf(trace.buffer + trace.len, EVENT_BYTES, fmt, args);
        va_end(args);
        if (n > 0 && (unsigned)n < EVENT_BYTES)
            trace.len += (size_t)n;
    }
    pthread_mutex_unlock(&trace.lock);
}

/* --- events ------------------------------------------------------------------------ */

static void
put_event(const char *name, const char *kind, uint64_t begin_ns, uint64_t took_ns, int process,
          int thread, uint64_t bytes)
{
    put(",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%" PRIu64 ".%03u,\"dur\":%" PRIu64
        ".%03u,\"pid\":%d,\"tid\":%d,\"args\":{\"bytes\":%" PRIu64 "}}",
        name, kind, begin_ns / 1000, (unsigned)(begin_ns % 1000), took_ns / 1000,
        (unsigned)(took_ns % 1000), process, thread, bytes);
}

void
fe_trace_add(const char *name, const char *kind, uint64_t begin_ns, uint64_t bytes)
{
    if (fe_tracing() && begin_ns != 0)
        put_event(name, kind, begin_ns, gp_now_ns() - begin_ns, CLIENT, gettid(), bytes);
}

bool
fe_trace_server(const struct fe_session *s, const uint64_t *begins_ns, const uint64_t *took_ns,
                const uint32_t *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (calls[i] >= WIRE_CALL_COUNT || wire_calls[calls[i]].name == NULL)
            return false;
        put_event(wire_calls[calls[i]].name, "server", begins_ns[i] + trace.offset_ns[s->index],
                  took_ns[i], SERVER + (int)s->index, 1, 0);
    }
    return true;
}

/* --- begin and end ------------------------------------------------------------------ */

/* The server's clock after it has begun, or ended, to note what it does. */
static bool
tell_server(struct fe_session *s, bool on, uint64_t *now_ns_p)
{
    struct wire_gpTrace_args args = {.on = on};
    struct wire_gpTrace_reply reply;
    struct fe_call call;
    const uint8_t *bytes;
    size_t len;
    CUresult cr;
    void *to;

    if (!wire_call_set_has(&s->calls, WIRE_CALL_gpTrace) ||
        fe_enter_on(&call, WIRE_CALL_gpTrace, s) != CUDA_SUCCESS)
        return false;
    to = fe_post(&call, wire_size_gpTrace_args(&args));
    if (to == NULL)
        return false;
    wire_put_gpTrace_args(to, &args);
    fe_post_done(&call);
    cr = fe_wait(&call, &bytes, &len);
    if (cr == CUDA_SUCCESS && !wire_get_gpTrace_reply(bytes, len, &reply))
        cr = fe_malformed(&call);
    if (cr == CUDA_SUCCESS)
        *now_ns_p = reply.now_ns;
    return fe_leave(&call, cr) == CUDA_SUCCESS;
}

static bool
path_fill(const char *wish, char *path, size_t size)
{
    const char *mark = strstr(wish, "%p");
    int n;

    if (mark == NULL)
        n = snprintf(path, size, "%s", wish);
    else
        n = snprintf(path, size, "%.*s%d%s", (int)(mark - wish), wish, (int)getpid(), mark + 2);
    return n > 0 && (size_t)n < size;
}

static bool
file_open(const char *wish)
{
    char path[4096];

    if (!path_fill(wish, path, sizeof(path)))
        return false;
    trace.buffer = malloc(BUFFER_BYTES + 64);
    if (trace.buffer == NULL)
        return false;
    trace.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (trace.fd < 0)
        log_warn("GPUPOOL_TRACE: %s: %m", path);
    return trace.fd >= 0;
}

static void
begin_server(struct fe_session *s)
{
    uint64_t before_ns, server_ns = 0;

    put(",\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"server\"}}",
        SERVER + (int)s->index);
    put(",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":1,"
        "\"args\":{\"name\":\"executor\"}}",
        SERVER + (int)s->index);
    before_ns = gp_now_ns();
    if (tell_server(s, true, &server_ns))
        trace.offset_ns[s->index] = before_ns + (gp_now_ns() - before_ns) / 2 - server_ns;
}

void
fe_trace_begin(void)
{
    const char *wish = getenv("GPUPOOL_TRACE");
    const struct fe_sessions *all = fe_sessions();

    if (wish == NULL || wish[0] == '\0' || !file_open(wish))
        return;
    put("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
        "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"client\"}}",
        CLIENT);
    for (unsigned i = 0; i < all->count; i++)
        begin_server(all->list[i]);
    atomic_store(&fe_trace_on, true);
}

void
fe_trace_finish(void)
{
    const struct fe_sessions *all = fe_sessions();
    uint64_t now_ns;

    for (unsigned i = 0; i < all->count && fe_tracing(); i++) {
        struct tp_lane *lane = all->list[i]->line->lane;

        /* Not where that could take a minute. */
        if (!tp_link_is(lane) || tp_link_state(lane) == TP_LINK_LIVE)
            (void)tell_server(all->list[i], false, &now_ns);
    }
}

void
fe_trace_end(void)
{
    atomic_store(&fe_trace_on, false);
    pthread_mutex_lock(&trace.lock);
    if (trace.fd >= 0) {
        flush();
        close(trace.fd);
        trace.fd = -1;
    }
    pthread_mutex_unlock(&trace.lock);
}

void
fe_trace_abandon(void)
{
    atomic_store(&fe_trace_on, false);
}
