/* backend/main/relay.c */
#include "backend/main/relay.h"

#include "backend/supervisor/admin.h"
#include "backend/supervisor/handoff.h"
#include "backend/tenant/policy.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SILENCE_NS (300 * GP_NS_PER_S)

/* -- who may ----------------------------------------------------------------------------------- */

enum gp_status
be_relay_rules_check(const struct gp_options *options)
{
    for (size_t i = 0; i < gp_options_count(options, "admin"); i++) {
        const char *rule = gp_options_at(options, "admin", i);

        if ((strncmp(rule, "cn:", 3) != 0 || strcmp(rule, "cn:*") == 0) &&
            (strncmp(rule, "uri:", 4) != 0 || strcmp(rule, "uri:*") == 0)) {
            log_error("%s: \"%s\" for admin is not cn:NAME or uri:URI, and * alone is nobody",
                      gp_options_where(options, "admin"), rule);
            return GP_ERR_INVALID;
        }
        if (strlen(rule) >= BE_TENANT_RULE_BYTES) {
            log_error("%s: a rule of admin is too long", gp_options_where(options, "admin"));
            return GP_ERR_INVALID;
        }
    }
    return GP_OK;
}

static bool
is_operator(const struct gp_options *options, const struct tp_lane *lane)
{
    GP_AUTO_FREE struct be_policy *rule = calloc(1, sizeof(*rule));
    const struct tp_peer *peer = tp_peer(lane);
    struct be_applicant who = {.common_name = peer->common_name};

    if (rule == NULL)
        return false;
    for (unsigned i = 0; i < peer->uri_count && i < GP_ARRAY_LEN(who.uris); i++)
        who.uris[who.uri_count++] = peer->uris[i];
    rule->rule_count = 1;
    for (size_t i = 0; i < gp_options_count(options, "admin"); i++) {
        snprintf(rule->rules[0], sizeof(rule->rules[0]), "%s", gp_options_at(options, "admin", i));
        if (be_policy_matches(rule, &who))
            return true;
    }
    return false;
}

static void
refuse(struct tp_lane *lane, struct be_line *line)
{
    GP_AUTO_BUF struct gp_buf message = {0};
    struct wire_admin_answer answer = {.code = WIRE_CODE_NOT_ALLOWED};

    snprintf(answer.reason, sizeof(answer.reason),
             "the certificate of %.150s is no operator's on this server",
             tp_peer(lane)->common_name[0] != '\0' ? tp_peer(lane)->common_name : "nobody");
    snprintf(answer.hint, sizeof(answer.hint),
             "the server's option admin names them, as cn:NAME or uri:URI");
    log_warn("admin: %s: %s", tp_peer(lane)->address, answer.reason);
    if (wire_admin_answer_encode(&answer, &message) == GP_OK)
        be_line_frame(line, WIRE_FRAME_HELLO, WIRE_CONTROL_ADMIN, message.data, message.len);
    be_line_frame(line, WIRE_FRAME_BYE, WIRE_CODE_NOT_ALLOWED, NULL, 0);
    be_line_flush(line);
}

/* -- to and fro -------------------------------------------------------------------------------- */

/* One request to the supervisor, and its answer to the operator; false at the end. */
static bool
carry(int fd, struct be_line *line, const struct tp_frame *frame)
{
    GP_AUTO_FREE uint8_t *answer = NULL;
    size_t bytes;

    if (frame->payload_bytes > WIRE_ADMIN_REQUEST_MAX ||
        be_admin_exchange(fd, frame->payload, frame->payload_bytes, &answer, &bytes) != GP_OK)
        return false;
    be_line_frame(line, WIRE_FRAME_HELLO, WIRE_CONTROL_ADMIN, answer, (uint32_t)bytes);
    be_line_flush(line);
    return true;
}

/* The operator's next request. */
static bool
next(struct tp_lane *lane, struct tp_frame *frame)
{
    uint64_t deadline = gp_deadline_after(gp_now_ns(), SILENCE_NS);
    struct wire_frame_header header;
    enum gp_status status;

    do
        status = tp_recv_frame(lane, frame, deadline);
    while (status == GP_ERR_AGAIN);
    return status == GP_OK &&
           wire_frame_decode(frame->header, WIRE_FRAME_PAYLOAD_MAX, &header) == GP_OK &&
           header.kind == WIRE_FRAME_HELLO && header.tag == WIRE_CONTROL_ADMIN;
}

void
be_relay_run(struct be_relay *relay, struct tp_lane *lane, struct be_line *line,
             const struct tp_frame *request)
{
    const struct be_word word = {.state = BE_WORKER_ADMIN};
    struct tp_frame frame = *request;
    struct be_handoff what;
    int fd;

    if (!is_operator(relay->options, lane)) {
        refuse(lane, line);
        return;
    }
    log_info("admin: %s at %s", tp_peer(lane)->common_name, tp_peer(lane)->address);
    relay->seen.monitor = true; /* it is no session */
    be_board_row_set(relay->row, &relay->seen);
    be_handoff_tell(relay->socket, &word);
    if (be_handoff_receive(relay->socket, &what, &fd) != GP_OK)
        return;
    while (carry(fd, line, &frame) && next(lane, &frame))
        ;
    close(fd);
}
