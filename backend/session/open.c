/* backend/session/open.c -- hello, open, and the answer */
#include "backend/session/session.h"

#include "be_hooks.h"
#include "protocol/directory/model.h"
#include "protocol/base/log.h"
#include "protocol/base/random.h"
#include "protocol/base/util.h"
#include "protocol/base/version.h"
#include "protocol/wire/negotiate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BE_LEASE_MIN (64ull << 20)

static void
send_control(struct be_line *line, enum wire_control_kind kind, const struct gp_buf *message)
{
    be_line_frame(line, WIRE_FRAME_HELLO, kind, message->data, message->len);
}

static void
refuse(struct be_line *line, const struct wire_error_answer *why)
{
    GP_AUTO_BUF struct gp_buf message = {0};

    log_warn("session refused: %s%s%s", why->reason, why->hint[0] != 0 ? "; " : "", why->hint);
    if (wire_error_answer_encode(why, &message) == GP_OK)
        send_control(line, WIRE_CONTROL_ERROR, &message);
    be_line_frame(line, WIRE_FRAME_BYE, why->code, NULL, 0);
    be_line_flush(line);
}

static void
refuse_text(struct be_line *line, enum wire_control_code code, const char *reason, const char *hint)
{
    struct wire_error_answer why = {.code = (uint32_t)code};

    snprintf(why.reason, sizeof(why.reason), "%s", reason);
    snprintf(why.hint, sizeof(why.hint), "%s", hint);
    refuse(line, &why);
}

/* The next control message, which must be of one of these kinds (a bit each). */
static enum gp_status
receive_control(struct tp_lane *lane, struct be_line *line, uint32_t kinds, uint64_t deadline_ns,
                struct tp_frame *frame, enum wire_control_kind *kind_p)
{
    struct wire_frame_header header;
    enum gp_status status;

    do
        status = tp_recv_frame(lane, frame, deadline_ns);
    while (status == GP_ERR_AGAIN);
    if (status != GP_OK) {
        if (status == GP_ERR_TIMEOUT)
            log_warn("session: %s: no hello in time", tp_peer(lane)->address);
        return status;
    }
    status = wire_frame_decode(frame->header, WIRE_FRAME_PAYLOAD_MAX, &header);
    if (status != GP_OK)
        return status;
    line->received_seq = header.seq;
    if (header.kind == WIRE_FRAME_BYE)
        return GP_ERR_CLOSED;
    if (header.kind != WIRE_FRAME_HELLO || header.tag > 31 || (kinds >> header.tag & 1) == 0) {
        refuse_text(line, WIRE_CODE_PROTOCOL, "the session did not begin with hello and open", "");
        return GP_ERR_PROTOCOL;
    }
    *kind_p = (enum wire_control_kind)header.tag;
    return GP_OK;
}

/* -- hello
 * ------------------------------------------------------------------------------------------ */

static void
hello_fill(const struct be_open_config *config, struct wire_hello *mine)
{
    memset(mine, 0, sizeof(*mine));
    mine->wire_format = config->wire_format;
    mine->minor = WIRE_MINOR;
    mine->features = config->features;
    mine->max_payload_bytes = config->max_payload_bytes;
    mine->pid = (uint32_t)getpid();
    snprintf(mine->build, sizeof(mine->build), "%s", GP_BUILD);
    snprintf(mine->program, sizeof(mine->program), "gpupoold");
    for (uint32_t id = 0; id < WIRE_CALL_COUNT; id++)
        if (be_dispatch[id] != NULL)
            wire_call_set_add(&mine->calls, (uint16_t)id);
}

/* Texts are cut where they are too long to be shown. */
static void
seen_fill(const struct wire_hello *theirs, const struct tp_lane *lane,
          struct be_board_session *seen)
{
    const struct tp_peer *peer = tp_peer(lane);

    memset(seen, 0, sizeof(*seen));
    seen->client_pid = theirs->pid;
    snprintf(seen->program, sizeof(seen->program), "%.*s", BE_BOARD_TEXT - 1, theirs->program);
    snprintf(seen->build, sizeof(seen->build), "%.*s", BE_BOARD_TEXT - 1, theirs->build);
    snprintf(seen->common_name, sizeof(seen->common_name), "%.*s", BE_BOARD_TEXT - 1,
             peer->common_name);
    snprintf(seen->address, sizeof(seen->address), "%s", peer->address);
}

static enum gp_status
hello(const struct be_open_config *config, struct tp_lane *lane, struct be_line *line,
      struct be_opened *opened)
{
    GP_AUTO_FREE struct wire_hello *hellos = calloc(2, sizeof(*hellos));
    GP_AUTO_BUF struct gp_buf message = {0};
    struct wire_error_answer refusal = {0};
    enum wire_control_kind kind;
    struct wire_agreed agreed;
    struct tp_frame frame;
    enum gp_status status;

    if (hellos == NULL)
        return GP_ERR_NO_MEMORY;
    status =
        receive_control(lane, line, 1u << WIRE_CONTROL_HELLO, config->deadline_ns, &frame, &kind);
    if (status == GP_OK)
        status = wire_hello_decode(frame.payload, frame.payload_bytes, &hellos[1]);
    if (status == GP_ERR_PROTOCOL)
        refuse_text(line, WIRE_CODE_PROTOCOL, "the hello is malformed", "");
    if (status != GP_OK)
        return status;
    hello_fill(config, &hellos[0]);
    status = wire_negotiate(&hellos[0], &hellos[1], &agreed, &refusal);
    if (status != GP_OK) {
        refuse(line, &refusal);
        return status;
    }
    line->max_payload_bytes = agreed.max_payload_bytes;
    opened->features = agreed.features;
    line->packs = (agreed.features & WIRE_FEATURE_COMPRESS) != 0;
    memcpy(opened->program, hellos[1].program, sizeof(opened->program));
    status = wire_hello_encode(&hellos[0], &message);
    if (status != GP_OK)
        return status;
    send_control(line, WIRE_CONTROL_HELLO, &message);
    seen_fill(&hellos[1], lane, &opened->seen);
    log_info("session: %s pid %u at %s (%s%s%s)", hellos[1].program, hellos[1].pid,
             tp_peer(lane)->address, hellos[1].build,
             tp_peer(lane)->common_name[0] != 0 ? ", " : "", tp_peer(lane)->common_name);
    return GP_OK;
}

/* -- open
 * ------------------------------------------------------------------------------------------- */

static bool
device_matches(const struct wire_device *device, int index, const char *text)
{
    char number[16];

    snprintf(number, sizeof(number), "%d", index);
    return strcmp(text, number) == 0 || strcasestr(device->name, text) != NULL;
}

/* Every wish must be met by some device; which ones a client sees it chooses itself. */
static bool
wishes_met(const struct wire_open_request *request, const struct wire_device *devices, int count)
{
    for (uint32_t w = 0; w < request->wanted_count; w++) {
        bool met = false;

        for (int i = 0; i < count && !met; i++)
            met = (!devices[i].hidden && device_matches(&devices[i], i, request->wanted[w].text)) ||
                  strncmp(request->wanted[w].text, "GPU-", 4) == 0;
        if (!met)
            return false;
    }
    return true;
}

/* A quarter of the device and no more than a quarter of what is left, so that several sessions fit;
 * more is asked for by gpLease. */
static void
leases_grant(const struct be_session_config *config, struct be_space *space, bool monitor,
             struct wire_device *devices)
{
    for (int i = 0; i < config->driver->device_count; i++) {
        uint64_t lease = monitor ? 0 : gp_max_u64(devices[i].total_bytes / 4, BE_LEASE_MIN), left;

        devices[i].granularity_bytes = be_space_granularity(space);
        if (devices[i].hidden)
            continue;
        lease = gp_min_u64(gp_min_u64(lease, config->lease_bytes), devices[i].total_bytes);
        lease -= lease % be_space_granularity(space);
        if (config->ledger == NULL) {
            be_space_set_lease(space, i, lease);
        } else {
            left = be_ledger_left(config->ledger, (unsigned)i);
            devices[i].free_bytes = gp_min_u64(devices[i].free_bytes, left);
            lease = gp_min_u64(lease, left / 4);
            lease -= lease % be_space_granularity(space);
            /* No context is there yet to ask the driver through; the ledger knows all sessions. */
            lease = lease != 0 ? be_space_lease(space, i, lease, UINT64_MAX) : 0;
        }
        devices[i].lease_bytes = lease;
    }
}

/* -- the tenant
 * ----------------------------------------------------------------------------------------- */

static enum gp_status
admit(const struct be_open_config *config, const struct wire_open_request *request,
      const struct tp_lane *lane, struct be_line *line)
{
    const struct tp_peer *peer = tp_peer(lane);
    struct be_applicant who = {.common_name = peer->common_name, .monitor = request->monitor};
    struct be_refusal refusal;
    enum gp_status status;

    for (unsigned i = 0; i < peer->uri_count && i < GP_ARRAY_LEN(who.uris); i++)
        who.uris[who.uri_count++] = peer->uris[i];
    /* Only connections from this machine may come without a certificate. */
    who.has_ids = peer->has_ids;
    who.uid = peer->uid;
    who.gids = peer->gids;
    who.gid_count = peer->gid_count;
    who.local = (tp_caps(lane) & TP_CAP_LOCAL) != 0;
    status = be_ledger_admit(config->session.ledger, &who, &refusal);
    if (status != GP_OK)
        refuse_text(line, refusal.sessions ? WIRE_CODE_QUOTA : WIRE_CODE_NOT_ALLOWED,
                    refusal.reason, refusal.hint);
    return status;
}

static void
uuid_text(const uint8_t uuid[WIRE_UUID_BYTES], char text[48])
{
    int at = snprintf(text, 48, "GPU-");

    for (int i = 0; i < WIRE_UUID_BYTES; i++)
        at += snprintf(text + at, (size_t)(48 - at), "%s%02x",
                       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

/* What a tenant does not get is not described to it: only the places of the rest are kept. */
static unsigned
devices_hide(const struct be_policy *policy, int count, struct wire_device *devices,
             uint64_t *hidden_p)
{
    unsigned left = 0;
    char uuid[48];

    for (int i = 0; i < count; i++) {
        uuid_text(devices[i].uuid, uuid);
        if (be_policy_allows_device(policy, (unsigned)i, uuid, devices[i].name)) {
            if (policy->memory_bytes != 0)
                devices[i].total_bytes = gp_min_u64(devices[i].total_bytes, policy->memory_bytes);
            if (policy->memory_total_bytes != 0)
                devices[i].total_bytes =
                    gp_min_u64(devices[i].total_bytes, policy->memory_total_bytes);
            devices[i].free_bytes = gp_min_u64(devices[i].free_bytes, devices[i].total_bytes);
            left++;
            continue;
        }
        memset(&devices[i], 0, sizeof(devices[i]));
        devices[i].hidden = true;
        *hidden_p |= 1ull << i;
    }
    return left;
}

/* A session without a byte to have is of no use to anybody. */
static bool
memory_left(const struct be_session_config *with)
{
    struct be_ledger_view view;

    for (int i = 0; i < with->driver->device_count; i++) {
        be_ledger_view(with->ledger, (unsigned)i, &view);
        if ((with->hidden >> i & 1) == 0 && view.held_bytes < view.quota_bytes)
            return true;
    }
    return false;
}

/* The part of the devices that the tenant may see. */
static enum gp_status
tenant_apply(struct be_session_config *with, bool monitor, struct wire_device *devices,
             struct be_line *line)
{
    GP_AUTO_FREE struct be_policy *policy = calloc(1, sizeof(*policy));
    char text[BE_EXPLAIN_BYTES];

    if (policy == NULL)
        return GP_ERR_NO_MEMORY;
    if (!be_ledger_policy(with->ledger, policy))
        return GP_OK;
    log_info("session: of tenant %s", policy->name);
    if (devices_hide(policy, with->driver->device_count, devices, &with->hidden) == 0) {
        snprintf(text, sizeof(text), "tenant %s may use none of the devices here", policy->name);
        refuse_text(line, WIRE_CODE_NO_DEVICE, text, "ask for another server");
        return GP_ERR_NOT_FOUND;
    }
    if (!monitor && !memory_left(with)) {
        be_ledger_explain(with->ledger, (unsigned)__builtin_ctzll(~with->hidden), text,
                          sizeof(text));
        refuse_text(line, WIRE_CODE_QUOTA, text, "");
        return GP_ERR_LIMIT;
    }
    return GP_OK;
}

/* Sessions of one name may share memory and images: the policy's, else the certificate's. */
static enum gp_status
tenant_name(const struct be_session_config *with, const struct tp_lane *lane,
            struct be_session *session)
{
    GP_AUTO_FREE struct be_policy *policy = calloc(1, sizeof(*policy));
    const struct tp_peer *peer = tp_peer(lane);

    if (policy != NULL && be_ledger_policy(with->ledger, policy))
        snprintf(session->tenant, sizeof(session->tenant), "tenant %s", policy->name);
    else if (peer->has_ids)
        snprintf(session->tenant, sizeof(session->tenant), "%s uid %u", tp_scheme(lane), peer->uid);
    else
        snprintf(session->tenant, sizeof(session->tenant), "%s %s %s", tp_scheme(lane),
                 peer->common_name, peer->uri_count > 0 ? peer->uris[0] : "");
    session->images.has_contents = with->contents;
    if (be_images_scope(with->contents_shared ? "all tenants" : session->tenant,
                        session->images.contents) != GP_OK)
        return GP_ERR_NO_MEMORY;
    return be_images_scope(session->tenant, session->images.scope);
}

/* The tenant's class, on all devices alike. */
static void
priority_tell(const struct be_session_config *with, struct wire_device *devices)
{
    GP_AUTO_FREE struct be_policy *policy = calloc(1, sizeof(*policy));

    _Static_assert(BE_PRIORITY_HIGH + 1 == WIRE_PRIORITY_HIGH &&
                       BE_PRIORITY_LOW + 1 == WIRE_PRIORITY_LOW,
                   "one less than on the line");
    if (policy == NULL || !be_ledger_policy(with->ledger, policy))
        return;
    for (int i = 0; i < with->driver->device_count; i++)
        devices[i].priority = (uint32_t)policy->priority + 1;
}

static enum gp_status
answer(const struct be_open_config *config, struct be_line *line, struct be_session *session,
       bool monitor, struct wire_device *devices, struct be_opened *opened)
{
    GP_AUTO_BUF struct gp_buf message = {0};
    struct wire_open_answer out = {
        .driver_version = config->session.driver->version,
        .software = config->session.driver->software,
        .device_range = {monitor ? 0 : be_space_base(session->space),
                         monitor ? 0 : be_space_bytes(session->space)},
        .heartbeat_ms = config->heartbeat_ms,
        .grace_ms = opened->features & WIRE_FEATURE_RESUME ? config->grace_ms : 0,
        .device_count = (uint32_t)config->session.driver->device_count,
        .devices = devices,
    };
    enum gp_status status;

    if (out.grace_ms != 0)
        out.lines_max = config->lines_max;
    for (unsigned i = 0; out.grace_ms != 0 && i < config->lane_count; i++)
        snprintf(out.lanes[out.lane_count++], sizeof(out.lanes[0]), "%s", config->lanes[i]);
    snprintf(out.driver, sizeof(out.driver), "%s", config->session.driver->text);
    snprintf(out.server, sizeof(out.server), "%s", config->server_name);
    priority_tell(&config->session, devices);
    status = gp_random_bytes(&out.session_id, sizeof(out.session_id));
    if (status == GP_OK)
        status = gp_random_bytes(out.resume_secret, sizeof(out.resume_secret));
    out.session_id |= 1; /* 0 means none */
    if (status == GP_OK)
        status = wire_open_answer_encode(&out, &message);
    if (status == GP_OK && out.grace_ms != 0 && config->named != NULL)
        config->named(config->user, out.session_id);
    if (status == GP_OK)
        send_control(line, WIRE_CONTROL_ANSWER, &message);
    opened->session_id = opened->seen.id = out.session_id;
    opened->seen.monitor = monitor;
    opened->seen.opened_ms = gp_wall_ms();
    be_board_row_set(config->session.row, &opened->seen);
    be_frame_count(config->session.row, line->lane, gp_now_ns());
    memcpy(opened->secret, out.resume_secret, sizeof(opened->secret));
    explicit_bzero(out.resume_secret, sizeof(out.resume_secret));
    if (message.data != NULL)
        explicit_bzero(message.data, message.len);
    return status;
}

static enum gp_status
open_session(const struct be_open_config *config, const struct wire_open_request *request,
             const struct tp_lane *lane, struct be_line *line, struct be_opened *opened,
             struct be_session **session_p)
{
    struct be_session_config with = config->session;
    GP_AUTO_FREE struct wire_device *devices = NULL;
    struct be_session *session = NULL;
    enum gp_status status;

    if (config->refuse != WIRE_CODE_OK) {
        refuse_text(line, config->refuse,
                    config->refuse == WIRE_CODE_DRAINING
                        ? "the server takes no new sessions, its operator drains it"
                        : "the server has as many sessions as it may have",
                    "try again later, or ask for another server");
        return GP_ERR_LIMIT;
    }
    if (request->resume_id != 0) {
        refuse_text(line, WIRE_CODE_NO_SESSION, "there is no such session to resume", "");
        return GP_ERR_NOT_FOUND;
    }
    status = admit(config, request, lane, line);
    if (status != GP_OK)
        return status;
    status = be_devices_describe(with.driver, &devices);
    for (int i = 0; status == GP_OK && i < with.driver->device_count; i++)
        dir_model_key(devices[i].name, config->model_rules, devices[i].model);
    if (status == GP_OK) {
        status = tenant_apply(&with, request->monitor, devices, line);
        if (status != GP_OK)
            return status;
    }
    if (status == GP_OK && (with.driver->device_count == 0 ||
                            !wishes_met(request, devices, with.driver->device_count))) {
        refuse_text(line, WIRE_CODE_NO_DEVICE, "no device here matches what was asked for",
                    "see gpupool info");
        return GP_ERR_NOT_FOUND;
    }
    with.device_base_hint = request->device_base_hint;
    if (status == GP_OK)
        status = be_session_create(&with, line, &session);
    if (status == GP_OK)
        status = tenant_name(&with, lane, session);
    if (status == GP_OK) {
        leases_grant(&with, session->space, request->monitor, devices);
        if (opened->features & WIRE_FEATURE_PROMISE)
            be_promises_open(session, opened->program);
        status = answer(config, line, session, request->monitor, devices, opened);
    }
    if (status != GP_OK) {
        refuse_text(line, WIRE_CODE_DRIVER, "the server's driver cannot serve a session now",
                    "see the server's log");
        be_session_destroy(session);
        return status;
    }
    *session_p = session;
    return GP_OK;
}

enum gp_status
be_session_open(const struct be_open_config *config, struct tp_lane *lane, struct be_line *line,
                struct be_opened *opened_p, struct be_session **session_p)
{
    uint32_t kinds = 1u << WIRE_CONTROL_OPEN;
    struct wire_open_request request;
    enum wire_control_kind kind;
    struct tp_frame frame;
    enum gp_status status;

    status = hello(config, lane, line, opened_p);
    if (status != GP_OK)
        return status;
    be_line_flush(line);
    if (config->operator!= NULL)
        kinds |= 1u << WIRE_CONTROL_ADMIN;
    status = receive_control(lane, line, kinds, config->deadline_ns, &frame, &kind);
    if (status == GP_OK && kind == WIRE_CONTROL_ADMIN) {
        config->operator(config->user, lane, line, &frame);
        return GP_ERR_CLOSED;
    }
    if (status == GP_OK)
        status = wire_open_request_decode(frame.payload, frame.payload_bytes, &request);
    if (status == GP_ERR_PROTOCOL)
        refuse_text(line, WIRE_CODE_PROTOCOL, "the open request is malformed", "");
    if (status != GP_OK)
        return status;
    status = open_session(config, &request, lane, line, opened_p, session_p);
    wire_open_request_fini(&request);
    be_line_flush(line);
    return status;
}
