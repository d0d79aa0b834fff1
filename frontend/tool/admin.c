/* frontend/tool/admin.c */
#include "frontend/tool/admin.h"

#include "frontend/core/config.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/frame.h"
#include "protocol/wire/negotiate.h"
#include "transport/transport.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PATIENCE_NS (5 * GP_NS_PER_S)

static bool fail(struct tool_target *t, const char *fmt, ...) GP_PRINTF(2, 3);

static bool
fail(struct tool_target *t, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(t->why, sizeof(t->why), fmt, args);
    va_end(args);
    return false;
}

/* -- whom -------------------------------------------------------------------------------------- */

static bool
target_add(struct tool_targets *targets, const char *name, bool local)
{
    struct tool_target *list =
        realloc(targets->list, (targets->count + 1) * sizeof(*targets->list));

    if (list == NULL || targets->count == TOOL_TARGETS_MAX)
        return false;
    targets->list = list;
    list[targets->count] = (struct tool_target){.name = strdup(name), .local = local, .fd = -1};
    return list[targets->count++].name != NULL;
}

static void
target_close(struct tool_target *t)
{
    if (t->lane != NULL)
        tp_close(t->lane);
    if (t->fd >= 0)
        close(t->fd);
    t->lane = NULL;
    t->fd = -1;
}

static void
target_forget(struct tool_target *t)
{
    if (t->answered)
        wire_admin_answer_fini(&t->answer);
    t->answered = false;
}

void
tool_targets_fini(struct tool_targets *targets)
{
    for (size_t i = 0; i < targets->count; i++) {
        target_forget(&targets->list[i]);
        target_close(&targets->list[i]);
        free(targets->list[i].name);
    }
    free(targets->list);
    *targets = (struct tool_targets){0};
}

bool
tool_targets_configured(struct tool_targets *targets_p)
{
    struct tool_targets targets = {0};
    struct fe_config config;
    enum gp_status status = fe_config_load(&config);
    bool ok = status == GP_OK;

    for (size_t i = 0; ok && i < config.server_count; i++)
        ok = target_add(&targets, config.servers[i], false);
    fe_config_fini(&config);
    if (status == GP_ERR_NOT_FOUND)
        fprintf(stderr,
                "gpupool: no server is known: give --server or --socket, or set "
                "GPUPOOL_SERVER, and no server of this machine is at %s\n",
                TOOL_SOCKET_DEFAULT);
    if (ok)
        *targets_p = targets;
    else
        tool_targets_fini(&targets);
    return ok;
}

bool
tool_targets_find(const struct gp_options *o, struct tool_targets *targets_p)
{
    struct tool_targets targets = {0};
    const char *path = gp_options_text(o, "socket");

    if (path == NULL && gp_options_count(o, "server") == 0 &&
        access(TOOL_SOCKET_DEFAULT, W_OK) == 0)
        path = TOOL_SOCKET_DEFAULT;
    if (path == NULL)
        return tool_targets_configured(targets_p);
    if (!target_add(&targets, path, true)) {
        tool_targets_fini(&targets);
        return false;
    }
    *targets_p = targets;
    return true;
}

/* -- the line ---------------------------------------------------------------------------------- */

static bool
connect_local(struct tool_target *t)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_NS / GP_NS_PER_S};

    if (strlen(t->name) >= sizeof(address.sun_path))
        return fail(t, "the path is too long");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", t->name);
    t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (t->fd < 0)
        return fail(t, "%s", strerror(errno));
    (void)setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(t->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(t->fd, (struct sockaddr *)(void *)&address, sizeof(address)) == 0)
        return true;
    return fail(t, "%s%s", strerror(errno),
                errno == EACCES ? "; only root, the service's user and members of its group may"
                                : "");
}

static bool
frame_send(struct tool_target *t, enum wire_control_kind kind, const struct gp_buf *message)
{
    struct wire_frame_header header = {
        .payload_bytes = (uint32_t)message->len, .kind = WIRE_FRAME_HELLO, .tag = kind};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {message->data, message->len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    wire_frame_encode(&header, head);
    if (t->lane != NULL)
        return tp_send_by(t->lane, iov, 2, gp_now_ns() + PATIENCE_NS) == GP_OK;
    return sendmsg(t->fd, &msg, MSG_NOSIGNAL) == (ssize_t)(sizeof(head) + message->len);
}

/* The payload is borrowed from the lane until the next receive. */
static bool
frame_receive(struct tool_target *t, enum wire_control_kind kind, struct tp_frame *frame)
{
    uint64_t deadline = gp_now_ns() + PATIENCE_NS;
    struct wire_frame_header header;
    struct wire_error_answer error;
    enum gp_status status;

    do
        status = tp_recv_frame(t->lane, frame, deadline);
    while (status == GP_ERR_AGAIN);
    if (status == GP_ERR_CLOSED)
        return fail(t, "it closed the line; an older server, or see its log");
    if (status != GP_OK)
        return fail(t, "waiting for its answer: %s", gp_status_text(status));
    if (wire_frame_decode(frame->header, WIRE_FRAME_PAYLOAD_DEFAULT, &header) != GP_OK ||
        header.kind != WIRE_FRAME_HELLO)
        return fail(t, "an answer that is none");
    if (header.tag == WIRE_CONTROL_ERROR &&
        wire_error_answer_decode(frame->payload, frame->payload_bytes, &error) == GP_OK)
        return fail(t, "%s%s%s", error.reason, error.hint[0] != '\0' ? "; " : "", error.hint);
    if (header.tag != (uint32_t)kind)
        return fail(t, "an answer to something else");
    return true;
}

static bool
greet(struct tool_target *t)
{
    GP_AUTO_FREE struct wire_hello *hellos = calloc(2, sizeof(*hellos));
    GP_AUTO_BUF struct gp_buf message = {0};
    struct wire_error_answer refusal;
    struct wire_agreed agreed;
    struct tp_frame frame;

    if (hellos == NULL)
        return fail(t, "out of memory");
    hellos[0] = (struct wire_hello){.wire_format = WIRE_FORMAT,
                                    .minor = WIRE_MINOR,
                                    .max_payload_bytes = WIRE_FRAME_PAYLOAD_DEFAULT,
                                    .pid = (uint32_t)getpid(),
                                    .build = "gpupool",
                                    .program = "gpupool"};
    if (wire_hello_encode(&hellos[0], &message) != GP_OK ||
        !frame_send(t, WIRE_CONTROL_HELLO, &message))
        return fail(t, "it took no hello");
    if (!frame_receive(t, WIRE_CONTROL_HELLO, &frame))
        return false;
    if (wire_hello_decode(frame.payload, frame.payload_bytes, &hellos[1]) != GP_OK)
        return fail(t, "a malformed hello");
    if (wire_negotiate(&hellos[0], &hellos[1], &agreed, &refusal) != GP_OK)
        return fail(t, "%s; %s", refusal.reason, refusal.hint);
    return true;
}

static bool
connect_remote(struct tool_target *t)
{
    char why[TP_WHY_BYTES] = "";
    struct fe_config config;
    struct tp_opts opts = {.framing = &wire_framing,
                           .max_payload_bytes = WIRE_FRAME_PAYLOAD_DEFAULT,
                           .deadline_ns = gp_now_ns() + PATIENCE_NS,
                           .why = why};
    enum gp_status status = fe_config_load(&config);

    if (status == GP_OK || status == GP_ERR_NOT_FOUND) {
        opts.tls = (struct tp_tls_opts){
            .cert_path = config.cert, .key_path = config.key, .ca_path = config.ca};
        status = tp_connect(t->name, &opts, &t->lane);
    }
    fe_config_fini(&config);
    if (status != GP_OK)
        return fail(t, "%s", why[0] != '\0' ? why : gp_status_text(status));
    return greet(t);
}

/* -- asking ------------------------------------------------------------------------------------ */

static bool
receive_all(struct tool_target *t, void *data, size_t bytes)
{
    ssize_t n = recv(t->fd, data, bytes, MSG_WAITALL);

    if (n == (ssize_t)bytes)
        return true;
    return fail(t, "%s",
                n < 0 ? strerror(errno)
                      : "it closed the line: are you an operator? See "
                        "its log");
}

static bool
answer_local(struct tool_target *t)
{
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    GP_AUTO_FREE uint8_t *payload = NULL;
    struct wire_frame_header header;

    if (!receive_all(t, head, sizeof(head)))
        return false;
    if (wire_frame_decode(head, WIRE_ADMIN_ANSWER_MAX, &header) != GP_OK)
        return fail(t, "an answer that is none");
    payload = malloc(header.payload_bytes + 1);
    if (payload == NULL)
        return fail(t, "out of memory");
    if (!receive_all(t, payload, header.payload_bytes))
        return false;
    return wire_admin_answer_decode(payload, header.payload_bytes, &t->answer) == GP_OK ||
           fail(t, "a malformed answer");
}

static bool
answer_remote(struct tool_target *t)
{
    struct tp_frame frame;

    if (!frame_receive(t, WIRE_CONTROL_ADMIN, &frame))
        return false;
    return wire_admin_answer_decode(frame.payload, frame.payload_bytes, &t->answer) == GP_OK ||
           fail(t, "a malformed answer");
}

static bool
ask(struct tool_target *t, const struct gp_buf *message)
{
    if (t->fd < 0 && t->lane == NULL && !(t->local ? connect_local(t) : connect_remote(t)))
        return false;
    if (!frame_send(t, WIRE_CONTROL_ADMIN, message))
        return fail(t, "it closed the line");
    return t->local ? answer_local(t) : answer_remote(t);
}

size_t
tool_ask(struct tool_targets *targets, const struct wire_admin_request *request)
{
    GP_AUTO_BUF struct gp_buf message = {0};
    size_t answered = 0;

    if (wire_admin_request_encode(request, &message) != GP_OK) {
        fprintf(stderr, "gpupool: the request is too long\n");
        return 0;
    }
    for (size_t i = 0; i < targets->count; i++) {
        struct tool_target *t = &targets->list[i];

        target_forget(t);
        t->answered = ask(t, &message);
        if (!t->answered)
            target_close(t);
        answered += t->answered;
    }
    return answered;
}

size_t
tool_complain(const struct tool_targets *targets, const char *command)
{
    size_t bad = 0;

    for (size_t i = 0; i < targets->count; i++) {
        const struct tool_target *t = &targets->list[i];

        if (t->answered && t->answer.code == WIRE_CODE_OK)
            continue;
        bad++;
        if (!t->answered)
            fprintf(stderr, "gpupool %s: %s: %s\n", command, t->name, t->why);
        else
            fprintf(stderr, "gpupool %s: %s: %s%s%s\n", command, t->name, t->answer.reason,
                    t->answer.hint[0] != '\0' ? "; " : "", t->answer.hint);
    }
    return bad;
}

/* -- what answers say -------------------------------------------------------------------------- */

uint64_t
tool_calls_sum(const struct wire_admin_counters *c)
{
    return c->launches + c->copies + c->memory + c->modules + c->streams + c->graphs + c->others;
}

uint64_t
tool_used_sum(const struct wire_admin_use *uses, uint32_t count)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += uses[i].used_bytes + uses[i].other_bytes;
    return sum;
}

uint64_t
tool_promised_sum(const struct wire_admin_use *uses, uint32_t count)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += uses[i].lease_bytes + uses[i].other_bytes;
    return sum;
}
