/* frontend/core/connect.c */
#include "frontend/core/connect.h"

#include "frontend/core/list.h"
#include "frontend/core/perf.h"
#include "frontend/core/visible.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/base/version.h"
#include "protocol/wire/control.h"
#include "protocol/wire/negotiate.h"
#include "transport/link/link.h"

#include <errno.h>
#include <stdarg.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Between two tries where a program waits for its turn: each costs the server a worker. */
#define WAIT_LEAST_NS (100 * GP_NS_PER_MS)
#define WAIT_MOST_NS  GP_NS_PER_S
#define WAIT_PART     16                   /* of what it has waited */
#define LEAVE_NS      (100 * GP_NS_PER_MS) /* for a BYE; the line is hardly ever full then */
#define OPEN_ROUNDS   4                    /* how often another range of addresses is asked for */
#define ADDRESS_END   (1ull << 47)
#define HINT_STEP     (1ull << 43) /* places far from where programs and their heaps lie */
#define PLACE_ALIGN   (1ull << 32)

/* One try at one server. */
struct attempt {
    const char *url;
    const struct fe_config *config;
    uint64_t deadline_ns;
    size_t first; /* of the configuration's servers: these so many together */
    unsigned together;
    bool monitor;           /* only look at the devices */
    bool wait;              /* a server may take the session later */
    struct wire_range hint; /* addresses that are free here, and reserved; bytes 0: none */
    /* Results. */
    struct tp_lane *lane;
    struct wire_hello peer;
    struct wire_agreed agreed;
    struct wire_open_answer answer;
    CUresult cr;
    char *why;
};

/* --- words and codes ----------------------------------------------------------- */

CUresult
fe_connect_result(enum gp_status status)
{
    switch (status) {
    case GP_OK:
        return CUDA_SUCCESS;
    case GP_ERR_AUTH:
        return CUDA_ERROR_NOT_PERMITTED;
    case GP_ERR_VERSION:
        return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    case GP_ERR_NO_MEMORY:
        return CUDA_ERROR_OUT_OF_MEMORY;
    default:
        return CUDA_ERROR_NO_DEVICE;
    }
}

CUresult
fe_connect_refusal(uint32_t code)
{
    switch (code) {
    case WIRE_CODE_VERSION:
        return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    case WIRE_CODE_NOT_ALLOWED:
        return CUDA_ERROR_NOT_PERMITTED;
    case WIRE_CODE_BUSY:
    case WIRE_CODE_QUOTA:
    case WIRE_CODE_LIMIT:
    case WIRE_CODE_DRAINING:
    case WIRE_CODE_WORKER_DIED:
    case WIRE_CODE_KICKED:
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    case WIRE_CODE_DRIVER:
        return CUDA_ERROR_SYSTEM_NOT_READY;
    default:
        return CUDA_ERROR_NO_DEVICE;
    }
}

static bool fail(struct attempt *a, CUresult cr, const char *fmt, ...) GP_PRINTF(3, 4);

static bool
fail(struct attempt *a, CUresult cr, const char *fmt, ...)
{
    va_list args;

    a->cr = cr;
    va_start(args, fmt);
    vsnprintf(a->why, FE_WHY_BYTES, fmt, args);
    va_end(args);
    return false;
}

static bool
fail_status(struct attempt *a, const char *doing, enum gp_status status)
{
    return fail(a, fe_connect_result(status), "%s: %s: %s", a->url, doing, gp_status_text(status));
}

/* --- hello and open -------------------------------------------------------------- */

void
fe_socket_fill(const struct fe_socket *from, const char *fabrics[FE_FABRICS_MAX],
               struct tp_opts *opts)
{
    size_t count = 0;

    for (; count < FE_FABRICS_MAX && from->fabrics[count][0] != '\0'; count++)
        fabrics[count] = from->fabrics[count];
    opts->rdma = (struct tp_rdma_opts){fabrics, count, from->rdma_ports};
    opts->congestion = from->congestion[0] != '\0' ? from->congestion : NULL;
    opts->send_buffer_bytes = from->send_buffer_bytes;
    opts->recv_buffer_bytes = from->recv_buffer_bytes;
    opts->keepalive_s = from->keepalive_s;
    opts->kernel_tls = from->kernel_tls;
    opts->rekey_bytes = from->rekey_bytes;
}

static bool
dial(struct attempt *a)
{
    char why[TP_WHY_BYTES] = "";
    struct tp_opts opts = {
        .framing = &wire_framing,
        .max_payload_bytes = WIRE_FRAME_PAYLOAD_DEFAULT,
        .deadline_ns = a->deadline_ns,
        .tls = {.cert_path = a->config->cert, .key_path = a->config->key, .ca_path = a->config->ca},
        .why = why,
    };
    enum gp_status status;
    const char *fabrics[FE_FABRICS_MAX];
    const char *place;
    bool named;

    fe_socket_fill(&a->config->socket, fabrics, &opts);
    status = tp_connect(a->url, &opts, &a->lane);
    if (status == GP_OK)
        return true;
    if (why[0] == '\0')
        return fail_status(a, "connect", status);
    place = strstr(a->url, "://");
    named = place != NULL && strstr(why, place + 3) != NULL;
    return fail(a, fe_connect_result(status), "%s%s%s", named ? "" : a->url, named ? "" : ": ",
                why);
}

static void
my_hello(const struct attempt *a, struct wire_hello *hello)
{
    bool steady = (tp_caps(a->lane) & TP_CAP_STEADY) != 0; /* nothing to come back for */

    memset(hello, 0, sizeof(*hello));
    hello->wire_format = WIRE_FORMAT;
    hello->minor = WIRE_MINOR;
    hello->features = (fe_perf(FE_PERF_RESUME) && !steady ? WIRE_FEATURE_RESUME : 0) |
                      (fe_perf(FE_PERF_PROMISE) ? WIRE_FEATURE_PROMISE : 0) |
                      (a->config->content && fe_perf(FE_PERF_CONTENT) ? WIRE_FEATURE_CONTENT : 0) |
                      (fe_perf(FE_PERF_COMPRESS) ? WIRE_FEATURE_COMPRESS : 0);
    hello->max_payload_bytes = WIRE_FRAME_PAYLOAD_DEFAULT;
    hello->pid = (uint32_t)getpid();
    snprintf(hello->build, sizeof(hello->build), "%s", GP_BUILD);
    snprintf(hello->program, sizeof(hello->program), "%s", program_invocation_short_name);
}

static void
frame_of(enum wire_control_kind kind, const struct gp_buf *buf, uint8_t *header)
{
    struct wire_frame_header h = {
        .payload_bytes = (uint32_t)buf->len,
        .kind = WIRE_FRAME_HELLO,
        .tag = kind,
    };

    wire_frame_encode(&h, header);
}

/* Hello and open in one write: the answers to both come after one round trip. */
static bool
say_hello(struct attempt *a, const struct wire_hello *mine)
{
    struct wire_open_request open = {
        .device_base_hint = a->hint.base,
        .device_bytes_hint = a->hint.bytes,
        .monitor = a->monitor,
    };
    GP_AUTO_BUF struct gp_buf hello_buf = {0}, open_buf = {0};
    uint8_t headers[2][WIRE_FRAME_HEADER_BYTES];
    enum gp_status status;

    status = wire_hello_encode(mine, &hello_buf);
    if (status == GP_OK)
        status = wire_open_request_encode(&open, &open_buf);
    if (status == GP_OK) {
        struct iovec iov[4] = {
            {headers[0], WIRE_FRAME_HEADER_BYTES},
            {hello_buf.data, hello_buf.len},
            {headers[1], WIRE_FRAME_HEADER_BYTES},
            {open_buf.data, open_buf.len},
        };

        frame_of(WIRE_CONTROL_HELLO, &hello_buf, headers[0]);
        frame_of(WIRE_CONTROL_OPEN, &open_buf, headers[1]);
        status = tp_send_by(a->lane, iov, 4, a->deadline_ns);
    }
    /* A server that refused us may have said why before it closed: that is read next. */
    if (status == GP_OK || status == GP_ERR_IO || status == GP_ERR_CLOSED)
        return true;
    return fail_status(a, "hello", status);
}

static bool
refused(struct attempt *a, const struct tp_frame *frame)
{
    struct wire_error_answer error;

    if (wire_error_answer_decode(frame->payload, frame->payload_bytes, &error) != GP_OK)
        return fail(a, CUDA_ERROR_NO_DEVICE, "%s: malformed refusal", a->url);
    a->wait = error.code == WIRE_CODE_BUSY || error.code == WIRE_CODE_QUOTA ||
              error.code == WIRE_CODE_LIMIT || error.code == WIRE_CODE_DRAINING;
    return fail(a, fe_connect_refusal(error.code), "%s refused: %s%s%s", a->url,
                error.reason[0] != '\0' ? error.reason : wire_control_code_text(error.code),
                error.hint[0] != '\0' ? "; " : "", error.hint);
}

/* The next control message of the kind that is due; a refusal and everything else fail. */
static bool
hear(struct attempt *a, enum wire_control_kind kind, struct tp_frame *frame)
{
    struct wire_frame_header header;
    enum gp_status status;

    do {
        status = tp_recv_frame(a->lane, frame, a->deadline_ns);
    } while (status == GP_ERR_AGAIN);
    if (status == GP_OK)
        status = wire_frame_decode(frame->header, WIRE_FRAME_PAYLOAD_DEFAULT, &header);
    if (status == GP_ERR_AUTH) /* the transport has said what was wrong with our certificate */
        return fail(a, CUDA_ERROR_NOT_PERMITTED, "%s", "");
    if (status == GP_ERR_CLOSED)
        return fail(a, CUDA_ERROR_NO_DEVICE,
                    "%s closed the line before its hello: correct scheme and port, or see the "
                    "server's log",
                    a->url);
    if (status != GP_OK)
        return fail_status(a, "waiting for its hello", status);
    if (header.kind == WIRE_FRAME_HELLO && header.tag == WIRE_CONTROL_ERROR)
        return refused(a, frame);
    if (header.kind == WIRE_FRAME_BYE)
        return fail(a, fe_connect_refusal(header.tag), "%s closed the session: %s", a->url,
                    wire_control_code_text(header.tag));
    if (header.kind != WIRE_FRAME_HELLO || header.tag != (uint32_t)kind)
        return fail(a, CUDA_ERROR_NO_DEVICE, "%s: unexpected answer, is this a gpupool server?",
                    a->url);
    return true;
}

static bool
hear_hello(struct attempt *a, const struct wire_hello *mine)
{
    struct wire_error_answer refusal;
    struct tp_frame frame;
    enum gp_status status;

    if (!hear(a, WIRE_CONTROL_HELLO, &frame))
        return false;
    status = wire_hello_decode(frame.payload, frame.payload_bytes, &a->peer);
    if (status != GP_OK)
        return fail_status(a, "its hello", status);
    status = wire_negotiate(mine, &a->peer, &a->agreed, &refusal);
    if (status != GP_OK)
        return fail(a, fe_connect_result(status), "%s: %s%s%s", a->url, refusal.reason,
                    refusal.hint[0] != '\0' ? "; " : "", refusal.hint);
    if (a->agreed.max_payload_bytes < WIRE_RECORD_BYTES_MAX)
        return fail(a, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
                    "%s takes frames of %u bytes, this client needs %u", a->url,
                    a->agreed.max_payload_bytes, WIRE_RECORD_BYTES_MAX);
    return true;
}

static bool
hear_answer(struct attempt *a)
{
    struct tp_frame frame;
    enum gp_status status;

    if (!hear(a, WIRE_CONTROL_ANSWER, &frame))
        return false;
    status = wire_open_answer_decode(frame.payload, frame.payload_bytes, &a->answer);
    if (status != GP_OK)
        return fail_status(a, "its answer", status);
    if (a->answer.device_count == 0) {
        wire_open_answer_fini(&a->answer);
        return fail(a, CUDA_ERROR_NO_DEVICE, "%s has no device for this client", a->url);
    }
    return true;
}

/* Of a session that is open: a server that hears nothing keeps it for a lost client. */
static void
leave(struct tp_lane *lane)
{
    const struct wire_frame_header header = {.kind = WIRE_FRAME_BYE, .tag = WIRE_CODE_OK};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov = {head, sizeof(head)};

    wire_frame_encode(&header, head);
    if (lane != NULL && tp_send_by(lane, &iov, 1, gp_now_ns() + LEAVE_NS) != GP_OK)
        log_debug("%s: gone before we were", tp_peer(lane)->address);
    tp_close(lane);
}

static bool
open_once(struct attempt *a)
{
    struct wire_hello mine;

    if (!dial(a))
        return false;
    my_hello(a, &mine);
    if (say_hello(a, &mine) && hear_hello(a, &mine) && hear_answer(a))
        return true;
    tp_close(a->lane);
    a->lane = NULL;
    return false;
}

/* --- addresses ------------------------------------------------------------------- */

bool
fe_reserve(const struct wire_range *range)
{
    long page = sysconf(_SC_PAGESIZE);
    void *want = (void *)(uintptr_t)range->base, *got;

    if (range->bytes == 0)
        return true;
    if (range->base % (uint64_t)page != 0 || range->base == 0 || range->base >= ADDRESS_END ||
        range->bytes > ADDRESS_END - range->base)
        return false;
    got = mmap(want, range->bytes, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == want)
        return true;
    if (got != MAP_FAILED) /* an old kernel that takes the address for a wish */
        munmap(got, range->bytes);
    return false;
}

static void
release(const struct wire_range *range)
{
    if (range->bytes != 0)
        munmap((void *)(uintptr_t)range->base, range->bytes);
}

/* Find another place for bytes, not the one that was refused; reserved on success. */
static bool
find_place(uint64_t bytes, uint64_t not_base, struct wire_range *range_p)
{
    struct wire_range range = {.bytes = bytes};

    for (range.base = HINT_STEP; range.base < ADDRESS_END; range.base += HINT_STEP) {
        if (range.base != not_base && fe_reserve(&range)) {
            *range_p = range;
            return true;
        }
    }
    return false;
}

static bool
same_range(const struct wire_range *x, const struct wire_range *y)
{
    return x->base == y->base && x->bytes == y->bytes;
}

/* Both ranges, all or none; the hint's reservation is used or released. */
static bool
reserve_both(struct attempt *a)
{
    const struct wire_open_answer *answer = &a->answer;
    bool device = a->hint.bytes != 0 && same_range(&a->hint, &answer->device_range);

    if (!device) {
        release(&a->hint);
        device = fe_reserve(&answer->device_range);
    }
    a->hint.bytes = 0;
    if (!device)
        return false;
    if (fe_reserve(&answer->host_range))
        return true;
    release(&answer->device_range);
    return false;
}

/* Open a session whose addresses are free here; the server is asked again where they are not. */
static bool
open_session(struct attempt *a)
{
    int round;

    for (round = 0; round < OPEN_ROUNDS; round++) {
        struct wire_range got;

        if (!open_once(a)) {
            release(&a->hint);
            return false;
        }
        if (reserve_both(a))
            return true;
        got = a->answer.device_range;
        log_debug("%s: device addresses %#llx + %#llx are in use here", a->url,
                  (unsigned long long)got.base, (unsigned long long)got.bytes);
        wire_open_answer_fini(&a->answer);
        leave(a->lane);
        a->lane = NULL;
        if (!find_place(got.bytes, got.base, &a->hint))
            break;
    }
    release(&a->hint);
    return fail(a, CUDA_ERROR_NO_DEVICE,
                "%s: no range of addresses is free in this process and on the server", a->url);
}

/* --- the sessions ----------------------------------------------------------------- */

/* Servers that a program uses together. */
struct group {
    unsigned count;
    struct attempt *attempts; /* the first opened of them are open */
    unsigned opened;
    /* Their devices: the table lives on in the sessions. */
    struct wire_device *devices;
    unsigned device_count;
    unsigned servers[WIRE_DEVICES_MAX]; /* whose it is */
    int32_t ordinals[WIRE_DEVICES_MAX]; /* where its server has it */
};

static void
attempt_drop(struct attempt *a)
{
    leave(a->lane);
    a->lane = NULL;
    release(&a->answer.device_range);
    release(&a->answer.host_range);
    wire_open_answer_fini(&a->answer);
}

/* All that is open is closed; devices too. */
static void
group_drop(struct group *g)
{
    if (g == NULL)
        return;
    for (unsigned i = 0; i < g->opened; i++)
        if (g->attempts[i].lane != NULL)
            attempt_drop(&g->attempts[i]);
    free(g->devices);
    free(g->attempts);
    free(g);
}

static struct group *
group_create(struct attempt *a)
{
    struct group *g = calloc(1, sizeof(*g));

    if (g != NULL)
        g->attempts = calloc(a->together, sizeof(*g->attempts));
    if (g != NULL && g->attempts != NULL) {
        g->count = a->together;
        return g;
    }
    group_drop(g);
    fail(a, CUDA_ERROR_OUT_OF_MEMORY, "%s: no memory", a->url);
    return NULL;
}

/* A place for bytes right beside what the server before has, reserved; false if both are taken. */
static bool
place_beside(const struct wire_range *device, const struct wire_range *host, uint64_t bytes,
             struct wire_range *range_p)
{
    uint64_t end = gp_max_u64(device->base + device->bytes, host->base + host->bytes);
    struct wire_range behind = {gp_align_up_u64(end, PLACE_ALIGN), bytes}, ahead = {0, bytes};

    if (device->base > bytes + PLACE_ALIGN)
        ahead.base = (device->base - bytes) / PLACE_ALIGN * PLACE_ALIGN;
    *range_p = behind;
    if (fe_reserve(range_p))
        return true;
    *range_p = ahead;
    if (fe_reserve(range_p))
        return true;
    range_p->bytes = 0;
    return false;
}

/* What is reserved for one is no place for the next: each is proposed its own, in a row, as if it
 * had as much memory as the first. */
static void
group_place(struct group *g)
{
    static const struct wire_range none;
    const struct wire_open_answer *first = &g->attempts[0].answer;
    const struct wire_range *before = &first->device_range, *host = &first->host_range;
    uint64_t bytes = first->device_range.bytes;

    for (unsigned i = 1; i < g->count && bytes > 0; i++) {
        struct wire_range *hint = &g->attempts[i].hint;

        if (!place_beside(before, host, bytes, hint) && !find_place(bytes, 0, hint))
            continue;
        before = hint;
        host = &none;
    }
}

static void *
open_thread(void *arg)
{
    struct attempt *one = arg;

    (void)open_session(one);
    return NULL;
}

/* Open those behind the first all at once, each on a thread, or here where there can be none. */
static void
group_open_rest(struct group *g)
{
    pthread_t threads[FE_SERVERS_MAX];
    bool started[FE_SERVERS_MAX] = {false};
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's signals are not for them */
    for (unsigned i = 1; i + 1 < g->count; i++)
        started[i] = pthread_create(&threads[i], NULL, open_thread, &g->attempts[i]) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (unsigned i = 1; i < g->count; i++)
        if (!started[i])
            (void)open_session(&g->attempts[i]);
    for (unsigned i = 1; i < g->count; i++)
        if (started[i])
            pthread_join(threads[i], NULL);
}

/* Open a session with each: with the first, whose answer says how many addresses one needs, and
 * then with all others. */
static bool
group_open(struct attempt *a, struct group *g)
{
    GP_AUTO_FREE char *why = calloc(g->count, FE_WHY_BYTES);

    if (why == NULL)
        return fail(a, CUDA_ERROR_OUT_OF_MEMORY, "%s: no memory", a->url);
    for (unsigned i = 0; i < g->count; i++) {
        struct attempt *one = &g->attempts[i];

        one->url = a->config->servers[a->first + i];
        one->config = a->config;
        one->deadline_ns = a->deadline_ns;
        one->monitor = a->monitor;
        one->why = why + (size_t)i * FE_WHY_BYTES;
    }
    g->opened = 1;
    if (open_session(&g->attempts[0]) && g->count > 1) {
        group_place(g);
        group_open_rest(g);
        g->opened = g->count;
    }
    for (unsigned i = 0; i < g->opened; i++) {
        struct attempt *one = &g->attempts[i];

        one->why = a->why;
        if (one->lane != NULL)
            continue;
        snprintf(a->why, FE_WHY_BYTES, "%s", why + (size_t)i * FE_WHY_BYTES);
        a->cr = one->cr;
        a->wait = one->wait;
        return false;
    }
    return true;
}

/* One table; what the tenant may not use is left out. */
static bool
group_devices(struct attempt *a, struct group *g)
{
    g->devices = calloc(WIRE_DEVICES_MAX, sizeof(*g->devices));
    if (g->devices == NULL)
        return fail(a, CUDA_ERROR_OUT_OF_MEMORY, "%s: no memory", a->url);
    for (unsigned i = 0; i < g->count; i++) {
        const struct wire_open_answer *answer = &g->attempts[i].answer;

        for (uint32_t d = 0; d < answer->device_count; d++) {
            unsigned n = g->device_count;

            if (answer->devices[d].hidden)
                continue;
            if (n == WIRE_DEVICES_MAX)
                return fail(a, CUDA_ERROR_NO_DEVICE, "%s: more than %d devices", a->url,
                            WIRE_DEVICES_MAX);
            g->devices[n] = answer->devices[d];
            fe_list_pci(&g->devices[n], i);
            g->servers[n] = i;
            g->ordinals[n] = (int32_t)d;
            g->device_count++;
        }
    }
    return true;
}

/* Of the devices in order, those that the program shall see. */
static bool
needed_choose(struct attempt *a, const struct group *g, unsigned *order, unsigned *count)
{
    const struct place_need *need = &a->config->need;
    char why[PLACE_TEXT] = "";

    *count = fe_list_choose(need, g->devices, g->servers, order, *count, why);
    if (*count == need->gpus)
        return true;
    a->wait = true; /* memory may become free */
    return fail(a, CUDA_ERROR_NO_DEVICE, "%s has only %s", a->url, why);
}

static bool
group_choose(struct attempt *a, const struct group *g, unsigned *order, unsigned *count)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");

    *count = fe_visible(visible, getenv("CUDA_DEVICE_ORDER"), g->devices, g->device_count, order);
    if (*count == 0)
        return fail(a, CUDA_ERROR_NO_DEVICE,
                    "CUDA_VISIBLE_DEVICES=%s shows none of the %u devices of %s", visible,
                    g->device_count, a->url);
    return !a->config->has_need || needed_choose(a, g, order, count);
}

static void
fill_session(const struct attempt *a, struct fe_session *s)
{
    const struct wire_open_answer *answer = &a->answer;

    s->driver_version = answer->driver_version;
    s->software = answer->software;
    memcpy(s->driver, answer->driver, sizeof(s->driver));
    memcpy(s->server, answer->server, sizeof(s->server));
    snprintf(s->url, sizeof(s->url), "%s", a->url);
    s->socket = a->config->socket;
    s->managed_wait_ns = a->config->managed_wait_ns;
    s->session_id = answer->session_id;
    s->device_range = answer->device_range;
    s->host_range = answer->host_range;
    s->calls = a->peer.calls;
    s->features = a->agreed.features;
}

/* What the session needs to go on by another line; grace_ns stays 0 where it cannot. */
static enum gp_status
resume_prepare(const struct attempt *a, struct fe_resume *resume)
{
    const struct wire_open_answer *answer = &a->answer;

    if ((a->agreed.features & WIRE_FEATURE_RESUME) == 0 || answer->grace_ms == 0 ||
        answer->session_id == 0)
        return GP_OK;
    resume->grace_ns = answer->grace_ms * GP_NS_PER_MS;
    resume->session_id = answer->session_id;
    return tp_link_key(a->lane, answer->session_id, answer->resume_secret, resume->key);
}

/* The attempt's lane becomes a session's line. */
static bool
session_make(struct attempt *a, struct fe_session **session_p)
{
    struct fe_session *s = calloc(1, sizeof(*s));
    struct fe_resume resume = {.grace_ns = 0};
    struct tp_lane *lane = a->lane;
    enum gp_status status = s != NULL ? resume_prepare(a, &resume) : GP_ERR_NO_MEMORY;

    a->lane = NULL;
    if (status == GP_OK) {
        fill_session(a, s);
        status = fe_line_create(s, lane, a->agreed.max_payload_bytes, a->answer.heartbeat_ms,
                                &resume, &s->line);
    } else {
        tp_close(lane);
    }
    explicit_bzero(&resume, sizeof(resume));
    if (status != GP_OK) {
        free(s);
        release(&a->answer.device_range);
        release(&a->answer.host_range);
        wire_open_answer_fini(&a->answer);
        return fail_status(a, "session", status);
    }
    fe_resume_choose(s->line, &a->answer);
    wire_open_answer_fini(&a->answer);
    *session_p = s;
    return true;
}

/* A session for each server that has a device in the list; the others are let go. */
static bool
sessions_make(struct attempt *a, struct group *g, const unsigned *order, unsigned count,
              struct fe_sessions *all)
{
    struct fe_session *made[FE_SERVERS_MAX] = {NULL};

    for (unsigned i = 0; i < count; i++) {
        unsigned server = g->servers[order[i]];
        struct fe_session *s = made[server];

        if (s == NULL && !session_make(&g->attempts[server], &made[server])) {
            a->cr = g->attempts[server].cr;
            for (i = 0; i < g->count; i++)
                if (made[i] != NULL)
                    fe_line_end(made[i]->line);
            return false;
        }
        s = made[server];
        all->devices[i] = (struct fe_device){&g->devices[order[i]], g->ordinals[order[i]], s};
        s->devices[s->device_count++] = all->devices[i];
    }
    all->device_count = count;
    for (unsigned i = 0; i < g->count; i++)
        if (made[i] != NULL) {
            made[i]->index = all->count;
            all->list[all->count++] = made[i];
        }
    return true;
}

static bool
take_sessions(struct attempt *a, void *to)
{
    struct group *g = group_create(a);
    unsigned order[WIRE_DEVICES_MAX], count = 0;
    bool good;

    if (g == NULL)
        return false;
    good = group_open(a, g) && group_devices(a, g) && group_choose(a, g, order, &count) &&
           sessions_make(a, g, order, count, to);
    if (good)
        g->devices = NULL; /* the sessions' */
    group_drop(g);
    return good;
}

/* Try the servers in their order until take is content with one. */
static CUresult
each_server(const struct fe_config *config, uint64_t deadline_ns, bool monitor,
            bool (*take)(struct attempt *a, void *to), void *to, char why[FE_WHY_BYTES],
            bool *wait_p)
{
    struct attempt *a = calloc(1, sizeof(*a));
    CUresult cr = CUDA_ERROR_OUT_OF_MEMORY;
    size_t i;

    snprintf(why, FE_WHY_BYTES, "out of memory");
    *wait_p = false;
    for (i = 0; a != NULL && i < config->server_count; i += a->together) {
        uint64_t now = gp_now_ns();
        /* A dead server leaves time for those behind it. */
        uint64_t share = deadline_ns > now ? (deadline_ns - now) / fe_config_choices(config, i) : 0;

        memset(a, 0, sizeof(*a));
        a->url = config->servers[i];
        a->first = i;
        for (a->together = 1;
             i + a->together < config->server_count && config->together[i + a->together];)
            a->together++;
        a->config = config;
        a->deadline_ns = now + share;
        a->monitor = monitor;
        a->why = why;
        if (take(a, to)) {
            cr = CUDA_SUCCESS;
            break;
        }
        cr = a->cr;
        *wait_p = *wait_p || a->wait;
        if (i + a->together < config->server_count && why[0] != '\0')
            log_info("%s", why);
    }
    if (a != NULL)
        explicit_bzero(a->answer.resume_secret, sizeof(a->answer.resume_secret));
    free(a);
    return cr;
}

uint64_t
fe_wait_pause_ns(uint64_t waited_ns)
{
    return gp_min_u64(WAIT_MOST_NS, gp_max_u64(WAIT_LEAST_NS, waited_ns / WAIT_PART));
}

CUresult
fe_connect(const struct fe_config *config, uint64_t deadline_ns, struct fe_sessions *all,
           char why[FE_WHY_BYTES])
{
    uint64_t began = gp_now_ns(), patience_ns = deadline_ns - began, end = deadline_ns;
    bool wait, told = false;
    CUresult cr;

    if (config->wait_ns > 0)
        end = gp_deadline_after(began, config->wait_ns);
    while ((cr = each_server(config, deadline_ns, false, take_sessions, all, why, &wait)) !=
               CUDA_SUCCESS &&
           wait && config->wait_ns > 0 && gp_now_ns() < end) {
        if (!told)
            log_warn("%s; waiting for a server that takes this program", why);
        told = true;
        gp_sleep_ns(fe_wait_pause_ns(gp_now_ns() - began));
        deadline_ns = gp_deadline_after(gp_now_ns(), patience_ns);
    }
    return cr;
}

struct monitors {
    struct fe_monitor *list;
    unsigned count;
};

/* Hidden devices keep their places in the answers; places on the bus are as sessions show them. */
static bool
take_monitors(struct attempt *a, void *to)
{
    struct monitors *m = to;
    struct group *g = group_create(a);
    bool good = g != NULL && group_open(a, g);

    for (unsigned i = 0; good && i < g->count; i++) {
        struct attempt *one = &g->attempts[i];

        for (uint32_t d = 0; d < one->answer.device_count; d++)
            fe_list_pci(&one->answer.devices[d], i);
        m->list[i] = (struct fe_monitor){.lane = one->lane,
                                         .answer = one->answer,
                                         .calls = one->peer.calls,
                                         .max_payload_bytes = one->agreed.max_payload_bytes};
        one->lane = NULL; /* the caller's, as is the answer */
        m->count++;
    }
    group_drop(g);
    return good;
}

CUresult
fe_connect_monitors(const struct fe_config *config, uint64_t deadline_ns,
                    struct fe_monitor monitors[FE_SERVERS_MAX], unsigned *count_p,
                    char why[FE_WHY_BYTES])
{
    struct monitors m = {.list = monitors};
    bool wait;
    CUresult cr = each_server(config, deadline_ns, true, take_monitors, &m, why, &wait);

    *count_p = m.count;
    return cr;
}

CUresult
fe_connect_monitor(const struct fe_config *config, size_t which, uint64_t deadline_ns,
                   struct fe_monitor *monitor, char why[FE_WHY_BYTES])
{
    struct fe_config one = *config;
    unsigned count;

    one.servers[0] = config->servers[which];
    one.server_count = 1;
    return fe_connect_monitors(&one, deadline_ns, monitor, &count, why);
}

void
fe_monitor_close(struct fe_monitor *monitor)
{
    leave(monitor->lane);
    monitor->lane = NULL;
    wire_open_answer_fini(&monitor->answer);
}
