/* bench/transport_floor.c -- what a transport costs by itself, on loopback
 *
 * Two processes, one lane: ping-pong of small frames and a stream of large ones, out of and into as
 * much memory as is streamed (a copy's bytes are in no cache either). Everything else that is
 * measured over a transport is compared with this. One JSON line for each figure. With
 * --role the two processes are started by the user, who may put a relay between them.
 */
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/options.h"
#include "protocol/wire/frame.h"
#include "transport/kept.h"
#include "transport/transport.h"

#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Busy or emulated machines are slow at opening, which is not what is measured. */
#define OPEN_NS (60 * GP_NS_PER_S)

static const struct gp_option floor_options[] = {
    {"transport", "NAME", GP_OPT_ENUM, "tcp",
     "what to measure; tls-key: as a session's further connections, tls-kernel: by the kernel",
     .choices = "tcp|tls|tls-key|tls-kernel|shm|rdma"},
    {"cert", "FILE", GP_OPT_PATH, NULL, "certificate of both ends, PEM (tls, rdma)"},
    {"key", "FILE", GP_OPT_PATH, NULL, "its private key, PEM"},
    {"ca", "FILE", GP_OPT_PATH, NULL, "who signed it, PEM"},
    {"server-name", "NAME", GP_OPT_TEXT, NULL, "name in the certificate"},
    {"spin", "TIME", GP_OPT_TIME, "0s", "look so long before sleeping, both ends"},
    {"bytes", "BYTES", GP_OPT_BYTES, "64", "payload of a ping"},
    {"rounds", "N", GP_OPT_NUMBER, "5000", "pings"},
    {"stream", "BYTES", GP_OPT_BYTES, "1g", "bytes to stream each way"},
    {"chunk", "BYTES", GP_OPT_BYTES, "1m", "payload of a streamed frame"},
    {"memory", "BYTES", GP_OPT_BYTES, "256m", "stream out of and into so much memory, at most"},
    {"congestion", "NAME", GP_OPT_TEXT, NULL, "TCP congestion control"},
    {"kept", NULL, GP_OPT_FLAG, "no",
     "stream from and to memory that a device may be told of (rdma)"},
    {"role", "NAME", GP_OPT_ENUM, "both", "be one end only, the other has the same options",
     .choices = "both|serve|connect"},
    {"url", "URL", GP_OPT_URLS, NULL, "where the end that serves is (--role=connect)"},
    {"ready-fd", "FD", GP_OPT_FD, NULL, "write one line with that URL (--role=serve)"},
    {NULL},
};

static const struct gp_option_set floor_set = {
    .program = "transport_floor",
    .summary = "measure a transport's own latency and bandwidth",
    .options = floor_options,
};

struct plan {
    const char *transport;
    uint64_t rounds, ping_bytes, stream_bytes, chunk_bytes;
    uint64_t memory_bytes; /* a multiple of chunk_bytes */
    bool kept;
    const char *connect_url; /* NULL: be the other end, or both */
    int ready_fd;            /* of the end that only serves; -1: both */
};

static enum gp_status
send_frame(struct tp_lane *lane, enum wire_frame_kind kind, uint8_t *payload, size_t bytes)
{
    struct wire_frame_header h = {.kind = (uint8_t)kind, .payload_bytes = (uint32_t)bytes};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {payload, bytes}};

    wire_frame_encode(&h, head);
    return tp_send(lane, iov, 2);
}

/* Receive count frames, one behind the other, into memory. */
static enum gp_status
drain(struct tp_lane *lane, uint8_t *memory, uint64_t count, const struct plan *plan)
{
    struct tp_frame frame;
    enum gp_status status = GP_OK;
    uint64_t at = 0;

    for (; count > 0 && status == GP_OK; count--) {
        status = tp_recv_header(lane, &frame, GP_FOREVER);
        if (status != GP_OK)
            break;
        if (frame.payload_bytes > plan->memory_bytes - at)
            at = 0;
        status = tp_recv_payload(lane, memory + at, frame.payload_bytes, GP_FOREVER, NULL);
        at += frame.payload_bytes;
    }
    return status;
}

static enum gp_status
pour(struct tp_lane *lane, uint8_t *memory, const struct plan *plan)
{
    enum gp_status status = GP_OK;

    for (uint64_t n = 0; n < plan->stream_bytes && status == GP_OK; n += plan->chunk_bytes)
        status =
            send_frame(lane, WIRE_FRAME_DATA, memory + n % plan->memory_bytes, plan->chunk_bytes);
    return status;
}

static uint64_t
chunks(const struct plan *plan)
{
    return (plan->stream_bytes + plan->chunk_bytes - 1) / plan->chunk_bytes;
}

/* Echo pings; take the stream and answer it; pour one back and await the answer. */
static enum gp_status
serve(struct tp_lane *lane, uint8_t *memory, const struct plan *plan)
{
    enum gp_status status = GP_OK;

    for (uint64_t i = 0; i < plan->rounds && status == GP_OK; i++) {
        status = drain(lane, memory, 1, plan);
        if (status == GP_OK)
            status = send_frame(lane, WIRE_FRAME_PONG, memory, plan->ping_bytes);
    }
    if (status == GP_OK)
        status = drain(lane, memory, chunks(plan), plan);
    if (status == GP_OK)
        status = send_frame(lane, WIRE_FRAME_PONG, memory, 0);
    if (status == GP_OK)
        status = pour(lane, memory, plan);
    return status;
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static enum gp_status
ping(struct tp_lane *lane, uint8_t *memory, const struct plan *plan)
{
    GP_AUTO_FREE uint64_t *ns = calloc(plan->rounds + 1, sizeof(*ns));
    enum gp_status status = ns != NULL ? GP_OK : GP_ERR_NO_MEMORY;

    for (uint64_t i = 0; i < plan->rounds && status == GP_OK; i++) {
        uint64_t start = gp_now_ns();

        status = send_frame(lane, WIRE_FRAME_PING, memory, plan->ping_bytes);
        if (status == GP_OK)
            status = drain(lane, memory, 1, plan);
        ns[i] = gp_now_ns() - start;
    }
    if (status != GP_OK || plan->rounds == 0)
        return status;
    qsort(ns, plan->rounds, sizeof(*ns), by_value);
    printf("{\"transport\": \"%s\", \"what\": \"pingpong\", \"bytes\": %llu, \"median_us\": %.2f, "
           "\"p99_us\": %.2f, \"min_us\": %.2f}\n",
           plan->transport, (unsigned long long)plan->ping_bytes,
           (double)ns[plan->rounds / 2] / 1e3, (double)ns[plan->rounds * 99 / 100] / 1e3,
           (double)ns[0] / 1e3);
    return GP_OK;
}

static void
say_rate(const struct plan *plan, const char *what, uint64_t ns)
{
    printf("{\"transport\": \"%s\", \"what\": \"%s\", \"bytes\": %llu, \"gb_per_s\": %.5f}\n",
           plan->transport, what, (unsigned long long)(chunks(plan) * plan->chunk_bytes),
           (double)(chunks(plan) * plan->chunk_bytes) / (double)ns);
}

static enum gp_status
measure(struct tp_lane *lane, uint8_t *memory, const struct plan *plan)
{
    enum gp_status status = ping(lane, memory, plan);
    uint64_t start = gp_now_ns();

    if (status == GP_OK)
        status = pour(lane, memory, plan);
    if (status == GP_OK)
        status = drain(lane, memory, 1, plan);
    if (status != GP_OK)
        return status;
    say_rate(plan, "stream_out", gp_now_ns() - start);
    start = gp_now_ns();
    status = drain(lane, memory, chunks(plan), plan);
    if (status == GP_OK)
        say_rate(plan, "stream_in", gp_now_ns() - start);
    return status;
}

static enum gp_status
accept_lane(struct tp_listener *listener, const struct tp_opts *opts, struct tp_lane **lane_p)
{
    struct pollfd p = {.fd = tp_listener_fd(listener), .events = POLLIN};
    int fd;

    do
        poll(&p, 1, -1);
    while (tp_accept(listener, &fd) != GP_OK);
    return tp_adopt(tp_listener_scheme(listener), fd, TP_SERVER, opts, lane_p);
}

static bool
serve_one(struct tp_listener *listener, uint8_t *memory, const struct plan *plan,
          const struct tp_opts *opts)
{
    struct tp_lane *lane;
    enum gp_status status = accept_lane(listener, opts, &lane);

    if (status == GP_OK) {
        status = serve(lane, memory, plan);
        tp_close(lane);
    }
    return status == GP_OK;
}

static bool
connect_one(const char *url, uint8_t *memory, const struct plan *plan, const struct tp_opts *opts)
{
    struct tp_lane *lane;
    enum gp_status status = tp_connect(url, opts, &lane);

    if (status == GP_OK) {
        if (tp_peer(lane)->cipher[0] != '\0')
            log_info("%s, %s", tp_peer(lane)->protocol, tp_peer(lane)->cipher);
        status = measure(lane, memory, plan);
        tp_close(lane);
    }
    if (status != GP_OK)
        log_error("measurement failed: %s", gp_status_text(status));
    return status == GP_OK;
}

static bool
both(struct tp_listener *listener, uint8_t *memory, const struct plan *plan,
     const struct tp_opts *opts)
{
    int child_status = 1;
    pid_t child = fork();
    bool ok;

    if (child == 0)
        _exit(serve_one(listener, memory, plan, opts) ? 0 : 1);
    ok = child > 0 && connect_one(tp_listener_url(listener), memory, plan, opts);
    if (child > 0)
        waitpid(child, &child_status, 0);
    return ok && child_status == 0;
}

static int
run(const struct plan *plan, const struct tp_opts *opts)
{
    GP_AUTO_FREE uint8_t *memory = malloc(plan->memory_bytes);
    struct tp_listener *listener;
    char url[64];
    bool ok;

    if (memory == NULL)
        return 1;
    memset(memory, 1, plan->memory_bytes); /* pages of its own, all of them */
    if (plan->kept)
        tp_memory_keep(memory, plan->chunk_bytes, TP_KEPT_OWN); /* as long as we are here */
    if (plan->connect_url != NULL)
        return connect_one(plan->connect_url, memory, plan, opts) ? 0 : 1;
    if (strcmp(plan->transport, "shm") == 0)
        snprintf(url, sizeof(url), "shm://@gpupool-floor-%d", (int)getpid());
    else
        snprintf(url, sizeof(url), "%.*s://127.0.0.1:0", (int)strcspn(plan->transport, "-"),
                 plan->transport);
    if (tp_listen(url, opts, &listener) != GP_OK)
        return 1;
    if (plan->ready_fd >= 0) {
        dprintf(plan->ready_fd, "%s\n", tp_listener_url(listener));
        close(plan->ready_fd);
        ok = serve_one(listener, memory, plan, opts);
    } else {
        ok = both(listener, memory, plan, opts);
    }
    tp_listener_close(listener);
    return ok ? 0 : 1;
}

/* What --role needs beside it. */
static bool
read_role(const struct gp_options *o, struct plan *plan)
{
    const char *role = gp_options_text(o, "role");
    uint64_t fd = gp_options_u64(o, "ready-fd");

    plan->ready_fd = -1;
    if (strcmp(role, "connect") == 0)
        plan->connect_url = gp_options_count(o, "url") == 1 ? gp_options_at(o, "url", 0) : "";
    if (strcmp(role, "serve") == 0)
        plan->ready_fd = fd <= INT_MAX ? (int)fd : STDOUT_FILENO;
    if (plan->connect_url != NULL && plan->connect_url[0] == '\0')
        log_error("--role=connect needs one --url");
    return plan->connect_url == NULL || plan->connect_url[0] != '\0';
}

int
main(int argc, char **argv)
{
    struct gp_options *o;
    struct gp_buf help = {0};
    enum gp_status status;
    int next, rc;

    if (gp_options_create(&floor_set, &o) != GP_OK)
        return 1;
    status = gp_options_load_args(o, argc, argv, &next);
    if (status == GP_ERR_AGAIN) {
        gp_options_help(&floor_set, &help);
        fwrite(help.data, 1, help.len, stdout);
        return 0;
    }
    if (status != GP_OK)
        return 2;

    struct plan plan = {
        .transport = gp_options_text(o, "transport"),
        .rounds = gp_options_u64(o, "rounds"),
        .ping_bytes = gp_options_u64(o, "bytes"),
        .stream_bytes = gp_options_u64(o, "stream"),
        .chunk_bytes = gp_min_u64(gp_options_u64(o, "chunk"), TP_PAYLOAD_MAX_DEFAULT),
        .kept = gp_options_flag(o, "kept"),
    };
    plan.memory_bytes = gp_min_u64(gp_options_u64(o, "memory"), plan.stream_bytes);
    plan.memory_bytes =
        gp_max_u64(plan.memory_bytes, gp_max_u64(plan.chunk_bytes, plan.ping_bytes));
    if (plan.chunk_bytes > 0)
        plan.memory_bytes =
            (plan.memory_bytes + plan.chunk_bytes - 1) / plan.chunk_bytes * plan.chunk_bytes;
    static const uint8_t nobodys_key[TP_KEY_BYTES];
    static const char *const any_fabric[] = {"*"}; /* the payload is nobody's secret */
    struct tp_opts opts = {
        .deadline_ns = gp_deadline_after(gp_now_ns(), OPEN_NS),
        .rdma = {any_fabric, 1, 1}, /* as what it is compared with */
        .framing = &wire_framing,
        .spin_us = (uint32_t)(gp_options_u64(o, "spin") / GP_NS_PER_US),
        .congestion = gp_options_text(o, "congestion"),
        .tls = {.cert_path = gp_options_text(o, "cert"),
                .key_path = gp_options_text(o, "key"),
                .ca_path = gp_options_text(o, "ca"),
                .server_name = gp_options_text(o, "server-name")},
    };
    if (strchr(plan.transport, '-') != NULL)
        opts.tls = (struct tp_tls_opts){.psk = nobodys_key};
    opts.kernel_tls = strcmp(plan.transport, "tls-kernel") == 0;
    rc = read_role(o, &plan) && plan.chunk_bytes > 0 ? run(&plan, &opts) : 2;
    gp_options_destroy(o);
    return rc;
}
