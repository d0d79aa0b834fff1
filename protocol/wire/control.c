/* protocol/wire/control.c -- between the plain structs and protobuf */
#include "protocol/wire/control.h"

#include "protocol/base/log.h"
#include "protocol/wire/message.h"

#include "control.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define ENCODE_BYTES_MAX (WIRE_CONTROL_BYTES_MAX * WIRE_BLOW_UP)
#define GROUP_BYTES      32
#define GROUPS_MAX       (WIRE_CALL_IDS / 256)

/* ---- hello ------------------------------------------------------------------------------ */

static enum gp_status
give_calls(struct wire_pool *pool, const struct wire_call_set *calls, Wire__Pb__Hello *msg)
{
    static const uint8_t nothing[GROUP_BYTES];

    msg->calls = wire_pool_alloc(pool, GROUPS_MAX * sizeof(*msg->calls));
    if (msg->calls == NULL)
        return GP_ERR_NO_MEMORY;
    for (uint32_t page = 0; page < GROUPS_MAX; page++) {
        const uint8_t *bits = calls->bits + (size_t)page * GROUP_BYTES;
        Wire__Pb__CallGroup *group;

        if (memcmp(bits, nothing, GROUP_BYTES) == 0)
            continue;
        group = wire_pool_alloc(pool, sizeof(*group));
        if (group == NULL)
            return GP_ERR_NO_MEMORY;
        wire__pb__call_group__init(group);
        group->page = page;
        group->bits = wire_give_bytes(bits, GROUP_BYTES);
        msg->calls[msg->n_calls++] = group;
    }
    return GP_OK;
}

static enum gp_status
take_calls(const Wire__Pb__Hello *msg, struct wire_call_set *out)
{
    enum gp_status status = wire_check_count("groups of calls", msg->n_calls, GROUPS_MAX);

    for (size_t i = 0; status == GP_OK && i < msg->n_calls; i++) {
        const Wire__Pb__CallGroup *group = msg->calls[i];

        if (group->page >= GROUPS_MAX || group->bits.len > GROUP_BYTES) {
            log_warn("control message: group %u of calls with %zu bytes", group->page,
                     group->bits.len);
            return GP_ERR_PROTOCOL;
        }
        for (size_t j = 0; j < group->bits.len; j++)
            out->bits[group->page * GROUP_BYTES + j] |= group->bits.data[j];
    }
    return status;
}

enum gp_status
wire_hello_encode(const struct wire_hello *in, struct gp_buf *out)
{
    struct wire_pool pool = {.limit_bytes = ENCODE_BYTES_MAX};
    Wire__Pb__Hello msg = WIRE__PB__HELLO__INIT;
    enum gp_status status;

    msg.wire_format = in->wire_format;
    msg.minor = in->minor;
    msg.features = in->features;
    msg.max_payload_bytes = in->max_payload_bytes;
    msg.pid = in->pid;
    msg.build = wire_give_text(&pool, in->build, sizeof(in->build));
    msg.program = wire_give_text(&pool, in->program, sizeof(in->program));
    status = give_calls(&pool, &in->calls, &msg);
    if (msg.build == NULL || msg.program == NULL)
        status = GP_ERR_NO_MEMORY;
    if (status == GP_OK)
        status = wire_pack(&msg.base, WIRE_CONTROL_BYTES_MAX, out);
    wire_pool_fini(&pool);
    return status;
}

enum gp_status
wire_hello_decode(const void *data, size_t bytes, struct wire_hello *out_p)
{
    GP_AUTO_FREE struct wire_hello *out = calloc(1, sizeof(*out));
    const Wire__Pb__Hello *msg;
    const void *message;
    struct wire_pool pool;
    enum gp_status status;

    if (out == NULL)
        return GP_ERR_NO_MEMORY;
    status = wire_unpack(&wire__pb__hello__descriptor, data, bytes, WIRE_CONTROL_BYTES_MAX, &pool,
                         &message);
    if (status == GP_OK) {
        msg = message;
        out->wire_format = msg->wire_format;
        out->minor = msg->minor;
        out->features = msg->features;
        out->max_payload_bytes = msg->max_payload_bytes;
        out->pid = msg->pid;
        status = wire_take_text("build", msg->build, out->build, sizeof(out->build));
        if (status == GP_OK)
            status = wire_take_text("program", msg->program, out->program, sizeof(out->program));
        if (status == GP_OK)
            status = take_calls(msg, &out->calls);
    }
    wire_pool_fini(&pool);
    if (status == GP_OK)
        *out_p = *out;
    return status;
}

/* ---- open request ----------------------------------------------------------------------- */

/* Texts of WIRE_TEXT_MAX + 1 bytes each, one behind the other. */
static enum gp_status
give_texts(struct wire_pool *pool, const void *texts, uint32_t count, uint32_t max, char ***to_p,
           size_t *count_p)
{
    const char *text = texts;
    char **to;

    if (count > max)
        return GP_ERR_INVALID;
    to = wire_pool_alloc(pool, (count + 1) * sizeof(*to));
    if (to == NULL)
        return GP_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++, text += WIRE_TEXT_MAX + 1) {
        to[i] = wire_give_text(pool, text, WIRE_TEXT_MAX + 1);
        if (to[i] == NULL)
            return GP_ERR_NO_MEMORY;
    }
    *to_p = to;
    *count_p = count;
    return GP_OK;
}

enum gp_status
wire_open_request_encode(const struct wire_open_request *in, struct gp_buf *out)
{
    struct wire_pool pool = {.limit_bytes = ENCODE_BYTES_MAX};
    Wire__Pb__OpenRequest msg = WIRE__PB__OPEN_REQUEST__INIT;
    enum gp_status status;

    msg.resume_id = in->resume_id;
    if (in->resume_id != 0)
        msg.resume_secret = wire_give_bytes(in->resume_secret, WIRE_SECRET_BYTES);
    msg.resume_received_seq = in->resume_received_seq;
    msg.device_base_hint = in->device_base_hint;
    msg.device_bytes_hint = in->device_bytes_hint;
    msg.monitor = in->monitor;
    status = give_texts(&pool, in->wanted, in->wanted_count, WIRE_WANTED_MAX, &msg.wanted,
                        &msg.n_wanted);
    if (status == GP_OK)
        status = wire_pack(&msg.base, WIRE_CONTROL_BYTES_MAX, out);
    wire_pool_fini(&pool);
    return status;
}

static enum gp_status
take_wanted(const Wire__Pb__OpenRequest *msg, struct wire_open_request *out)
{
    enum gp_status status = wire_check_count("wanted devices", msg->n_wanted, WIRE_WANTED_MAX);

    if (status != GP_OK || msg->n_wanted == 0)
        return status;
    out->wanted = calloc(msg->n_wanted, sizeof(*out->wanted));
    if (out->wanted == NULL)
        return GP_ERR_NO_MEMORY;
    out->wanted_count = (uint32_t)msg->n_wanted;
    for (size_t i = 0; status == GP_OK && i < msg->n_wanted; i++)
        status = wire_take_text("wanted device", msg->wanted[i], out->wanted[i].text,
                                sizeof(out->wanted[i].text));
    return status;
}

enum gp_status
wire_open_request_decode(const void *data, size_t bytes, struct wire_open_request *out_p)
{
    struct wire_open_request out = {0};
    const Wire__Pb__OpenRequest *msg;
    const void *message;
    struct wire_pool pool;
    enum gp_status status;

    status = wire_unpack(&wire__pb__open_request__descriptor, data, bytes, WIRE_CONTROL_BYTES_MAX,
                         &pool, &message);
    if (status == GP_OK) {
        msg = message;
        out.resume_id = msg->resume_id;
        out.resume_received_seq = msg->resume_received_seq;
        out.device_base_hint = msg->device_base_hint;
        out.device_bytes_hint = msg->device_bytes_hint;
        out.monitor = msg->monitor != 0;
        status = wire_take_bytes("resume secret", &msg->resume_secret, out.resume_secret,
                                 WIRE_SECRET_BYTES);
        if (status == GP_OK)
            status = take_wanted(msg, &out);
    }
    wire_pool_fini(&pool);
    if (status == GP_OK)
        *out_p = out;
    else
        wire_open_request_fini(&out);
    return status;
}

void
wire_open_request_fini(struct wire_open_request *request)
{
    free(request->wanted);
    explicit_bzero(request, sizeof(*request));
}

/* ---- open answer ------------------------------------------------------------------------ */

static Wire__Pb__Device *
give_device(struct wire_pool *pool, const struct wire_device *in, uint32_t device_count)
{
    Wire__Pb__Device *msg = wire_pool_alloc(pool, sizeof(*msg));

    if (msg == NULL || in->attribute_count > WIRE_ATTRIBUTES_MAX)
        return NULL;
    wire__pb__device__init(msg);
    msg->name = wire_give_text(pool, in->name, sizeof(in->name));
    msg->pci_bus_id = wire_give_text(pool, in->pci_bus_id, sizeof(in->pci_bus_id));
    msg->model = wire_give_text(pool, in->model, sizeof(in->model));
    msg->uuid = wire_give_bytes(in->uuid, WIRE_UUID_BYTES);
    msg->uuid_v2 = wire_give_bytes(in->uuid_v2, WIRE_UUID_BYTES);
    msg->hidden = in->hidden;
    msg->priority = in->priority;
    msg->total_bytes = in->total_bytes;
    msg->free_bytes = in->free_bytes;
    msg->lease_bytes = in->lease_bytes;
    msg->granularity_bytes = in->granularity_bytes;
    msg->stream_priority_least = in->stream_priority_least;
    msg->stream_priority_greatest = in->stream_priority_greatest;
    msg->n_attributes = in->attribute_count;
    msg->attributes = (int32_t *)in->attributes;
    msg->n_peer_bits = device_count;
    msg->peer_bits = (uint32_t *)in->peer_bits;
    return msg->name != NULL && msg->pci_bus_id != NULL && msg->model != NULL ? msg : NULL;
}

static Wire__Pb__Range *
give_range(struct wire_pool *pool, const struct wire_range *in)
{
    Wire__Pb__Range *msg = wire_pool_alloc(pool, sizeof(*msg));

    if (msg == NULL)
        return NULL;
    wire__pb__range__init(msg);
    msg->start = in->base;
    msg->bytes = in->bytes;
    return msg;
}

static enum gp_status
give_devices(struct wire_pool *pool, const struct wire_open_answer *in, Wire__Pb__OpenAnswer *msg)
{
    if (in->device_count > WIRE_DEVICES_MAX)
        return GP_ERR_INVALID;
    msg->devices = wire_pool_alloc(pool, (in->device_count + 1) * sizeof(*msg->devices));
    if (msg->devices == NULL)
        return GP_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < in->device_count; i++) {
        if (in->devices[i].attribute_count > WIRE_ATTRIBUTES_MAX)
            return GP_ERR_INVALID;
        msg->devices[i] = give_device(pool, &in->devices[i], in->device_count);
        if (msg->devices[i] == NULL)
            return GP_ERR_NO_MEMORY;
        msg->n_devices++;
    }
    return GP_OK;
}

enum gp_status
wire_open_answer_encode(const struct wire_open_answer *in, struct gp_buf *out)
{
    struct wire_pool pool = {.limit_bytes = ENCODE_BYTES_MAX};
    Wire__Pb__OpenAnswer msg = WIRE__PB__OPEN_ANSWER__INIT;
    enum gp_status status;

    msg.session_id = in->session_id;
    msg.resume_secret = wire_give_bytes(in->resume_secret, WIRE_SECRET_BYTES);
    msg.resumed_received_seq = in->resumed_received_seq;
    msg.driver_version = in->driver_version;
    msg.driver = wire_give_text(&pool, in->driver, sizeof(in->driver));
    msg.server = wire_give_text(&pool, in->server, sizeof(in->server));
    msg.software = in->software;
    msg.device_range = give_range(&pool, &in->device_range);
    msg.host_range = give_range(&pool, &in->host_range);
    msg.heartbeat_ms = in->heartbeat_ms;
    msg.grace_ms = in->grace_ms;
    msg.lines_max = in->lines_max;
    status = give_devices(&pool, in, &msg);
    if (status == GP_OK)
        status =
            give_texts(&pool, in->lanes, in->lane_count, WIRE_LANES_MAX, &msg.lanes, &msg.n_lanes);
    if (msg.driver == NULL || msg.server == NULL || msg.device_range == NULL ||
        msg.host_range == NULL)
        status = GP_ERR_NO_MEMORY;
    if (status == GP_OK)
        status = wire_pack(&msg.base, WIRE_CONTROL_BYTES_MAX, out);
    wire_pool_fini(&pool);
    return status;
}

static enum gp_status
take_device_numbers(const Wire__Pb__Device *msg, struct wire_device *out)
{
    enum gp_status status = wire_check_count("attributes", msg->n_attributes, WIRE_ATTRIBUTES_MAX);

    if (status == GP_OK)
        status = wire_check_count("peer entries", msg->n_peer_bits, WIRE_DEVICES_MAX);
    if (status != GP_OK)
        return status;
    out->attribute_count = (uint32_t)msg->n_attributes;
    for (size_t i = 0; i < msg->n_attributes; i++)
        out->attributes[i] = msg->attributes[i];
    for (size_t i = 0; i < msg->n_peer_bits; i++)
        out->peer_bits[i] = msg->peer_bits[i];
    out->hidden = msg->hidden;
    out->priority = (uint32_t)gp_min_u64(msg->priority, WIRE_PRIORITY_LOW);
    out->total_bytes = msg->total_bytes;
    out->free_bytes = msg->free_bytes;
    out->lease_bytes = msg->lease_bytes;
    out->granularity_bytes = msg->granularity_bytes;
    out->stream_priority_least = msg->stream_priority_least;
    out->stream_priority_greatest = msg->stream_priority_greatest;
    return GP_OK;
}

static enum gp_status
take_device(const Wire__Pb__Device *msg, struct wire_device *out)
{
    enum gp_status status = take_device_numbers(msg, out);

    if (status == GP_OK)
        status = wire_take_text("device name", msg->name, out->name, sizeof(out->name));
    if (status == GP_OK)
        status =
            wire_take_text("PCI bus id", msg->pci_bus_id, out->pci_bus_id, sizeof(out->pci_bus_id));
    if (status == GP_OK)
        status = wire_take_text("model", msg->model, out->model, sizeof(out->model));
    if (status == GP_OK)
        status = wire_take_bytes("uuid", &msg->uuid, out->uuid, WIRE_UUID_BYTES);
    if (status == GP_OK)
        status = wire_take_bytes("uuid_v2", &msg->uuid_v2, out->uuid_v2, WIRE_UUID_BYTES);
    return status;
}

static enum gp_status
take_devices(const Wire__Pb__OpenAnswer *msg, struct wire_open_answer *out)
{
    enum gp_status status = wire_check_count("devices", msg->n_devices, WIRE_DEVICES_MAX);

    if (status != GP_OK || msg->n_devices == 0)
        return status;
    out->devices = calloc(msg->n_devices, sizeof(*out->devices));
    if (out->devices == NULL)
        return GP_ERR_NO_MEMORY;
    out->device_count = (uint32_t)msg->n_devices;
    for (size_t i = 0; status == GP_OK && i < msg->n_devices; i++)
        status = take_device(msg->devices[i], &out->devices[i]);
    return status;
}

/* A range must not wrap; absent is empty. */
static enum gp_status
take_range(const char *field, const Wire__Pb__Range *msg, struct wire_range *out)
{
    uint64_t end;

    if (msg == NULL)
        return GP_OK;
    if (__builtin_add_overflow(msg->start, msg->bytes, &end)) {
        log_warn("control message: %s wraps", field);
        return GP_ERR_PROTOCOL;
    }
    *out = (struct wire_range){msg->start, msg->bytes};
    return GP_OK;
}

static enum gp_status
take_answer(const Wire__Pb__OpenAnswer *msg, struct wire_open_answer *out)
{
    enum gp_status status;

    out->session_id = msg->session_id;
    out->resumed_received_seq = msg->resumed_received_seq;
    out->driver_version = msg->driver_version;
    out->software = msg->software != 0;
    out->heartbeat_ms = msg->heartbeat_ms;
    out->grace_ms = msg->grace_ms;
    out->lines_max = msg->lines_max;
    status = wire_take_bytes("resume secret", &msg->resume_secret, out->resume_secret,
                             WIRE_SECRET_BYTES);
    if (status == GP_OK)
        status = wire_take_text("driver", msg->driver, out->driver, sizeof(out->driver));
    if (status == GP_OK)
        status = wire_take_text("server", msg->server, out->server, sizeof(out->server));
    if (status == GP_OK)
        status = take_range("device range", msg->device_range, &out->device_range);
    if (status == GP_OK)
        status = take_range("host range", msg->host_range, &out->host_range);
    if (status == GP_OK)
        status = take_devices(msg, out);
    for (size_t i = 0; status == GP_OK && i < msg->n_lanes && i < WIRE_LANES_MAX; i++) {
        status = wire_take_text("lane", msg->lanes[i], out->lanes[i], sizeof(out->lanes[i]));
        out->lane_count++;
    }
    return status;
}

enum gp_status
wire_open_answer_decode(const void *data, size_t bytes, struct wire_open_answer *out_p)
{
    struct wire_open_answer out = {0};
    const void *message;
    struct wire_pool pool;
    enum gp_status status;

    status = wire_unpack(&wire__pb__open_answer__descriptor, data, bytes, WIRE_CONTROL_BYTES_MAX,
                         &pool, &message);
    if (status == GP_OK)
        status = take_answer(message, &out);
    wire_pool_fini(&pool);
    if (status == GP_OK)
        *out_p = out;
    else
        wire_open_answer_fini(&out);
    return status;
}

void
wire_open_answer_fini(struct wire_open_answer *answer)
{
    free(answer->devices);
    explicit_bzero(answer, sizeof(*answer));
}

/* ---- error answer ----------------------------------------------------------------------- */

enum gp_status
wire_error_answer_encode(const struct wire_error_answer *in, struct gp_buf *out)
{
    struct wire_pool pool = {.limit_bytes = ENCODE_BYTES_MAX};
    Wire__Pb__ErrorAnswer msg = WIRE__PB__ERROR_ANSWER__INIT;
    enum gp_status status = GP_ERR_NO_MEMORY;

    msg.code = in->code;
    msg.reason = wire_give_text(&pool, in->reason, sizeof(in->reason));
    msg.hint = wire_give_text(&pool, in->hint, sizeof(in->hint));
    if (msg.reason != NULL && msg.hint != NULL)
        status = wire_pack(&msg.base, WIRE_CONTROL_BYTES_MAX, out);
    wire_pool_fini(&pool);
    return status;
}

enum gp_status
wire_error_answer_decode(const void *data, size_t bytes, struct wire_error_answer *out_p)
{
    struct wire_error_answer out = {0};
    const Wire__Pb__ErrorAnswer *msg;
    const void *message;
    struct wire_pool pool;
    enum gp_status status;

    status = wire_unpack(&wire__pb__error_answer__descriptor, data, bytes, WIRE_CONTROL_BYTES_MAX,
                         &pool, &message);
    if (status == GP_OK) {
        msg = message;
        out.code = msg->code;
        status = wire_take_text("reason", msg->reason, out.reason, sizeof(out.reason));
        if (status == GP_OK)
            status = wire_take_text("hint", msg->hint, out.hint, sizeof(out.hint));
    }
    wire_pool_fini(&pool);
    if (status == GP_OK)
        *out_p = out;
    return status;
}

/* ---- resume ----------------------------------------------------------------------------- */

enum gp_status
wire_resume_encode(const struct wire_resume *in, struct gp_buf *out)
{
    Wire__Pb__Resume msg = WIRE__PB__RESUME__INIT;

    msg.session_id = in->session_id;
    msg.attempt = in->attempt;
    msg.received_bytes = in->received_bytes;
    msg.proof = wire_give_bytes(in->proof, sizeof(in->proof));
    msg.line = in->line;
    msg.lines = in->lines;
    return wire_pack(&msg.base, WIRE_CONTROL_BYTES_MAX, out);
}

enum gp_status
wire_resume_decode(const void *data, size_t bytes, struct wire_resume *out_p)
{
    const Wire__Pb__Resume *msg;
    struct wire_resume out = {0};
    const void *message;
    struct wire_pool pool;
    enum gp_status status;

    status = wire_unpack(&wire__pb__resume__descriptor, data, bytes, WIRE_CONTROL_BYTES_MAX, &pool,
                         &message);
    if (status == GP_OK) {
        msg = message;
        out.session_id = msg->session_id;
        out.attempt = msg->attempt;
        out.received_bytes = msg->received_bytes;
        out.line = msg->line;
        out.lines = msg->lines;
        status = wire_take_bytes("proof", &msg->proof, out.proof, sizeof(out.proof));
    }
    wire_pool_fini(&pool);
    if (status == GP_OK)
        *out_p = out;
    return status;
}

enum gp_status
wire_resumed_encode(const struct wire_resumed *in, struct gp_buf *out)
{
    Wire__Pb__Resumed msg = WIRE__PB__RESUMED__INIT;

    msg.received_bytes = in->received_bytes;
    return wire_pack(&msg.base, WIRE_CONTROL_BYTES_MAX, out);
}

enum gp_status
wire_resumed_decode(const void *data, size_t bytes, struct wire_resumed *out_p)
{
    const void *message;
    struct wire_pool pool;
    enum gp_status status;

    status = wire_unpack(&wire__pb__resumed__descriptor, data, bytes, WIRE_CONTROL_BYTES_MAX, &pool,
                         &message);
    if (status == GP_OK)
        out_p->received_bytes = ((const Wire__Pb__Resumed *)message)->received_bytes;
    wire_pool_fini(&pool);
    return status;
}

const char *
wire_control_code_text(uint32_t code)
{
    static const char *const texts[] = {
        [WIRE_CODE_OK] = "ok",
        [WIRE_CODE_VERSION] = "no common wire format",
        [WIRE_CODE_NOT_ALLOWED] = "not allowed here",
        [WIRE_CODE_BUSY] = "busy, try later",
        [WIRE_CODE_QUOTA] = "over the quota",
        [WIRE_CODE_NO_DEVICE] = "no such device",
        [WIRE_CODE_DRIVER] = "the server's driver failed",
        [WIRE_CODE_NO_SESSION] = "no such session",
        [WIRE_CODE_PROTOCOL] = "protocol broken",
        [WIRE_CODE_LIMIT] = "over a limit",
        [WIRE_CODE_DRAINING] = "the server is going down",
        [WIRE_CODE_WORKER_DIED] = "the session's process ended",
        [WIRE_CODE_NOT_SUPPORTED] = "not supported",
        [WIRE_CODE_INTERNAL] = "internal error",
        [WIRE_CODE_KICKED] = "the pool's operator ended the session",
    };

    return code < GP_ARRAY_LEN(texts) ? texts[code] : "unknown reason";
}
