/* protocol/wire/admin.c -- tables that say which field of a message is which of a struct */
#include "protocol/wire/admin.h"

#include "protocol/base/util.h"
#include "protocol/wire/message.h"

#include "admin.pb-c.h"

#include <stdlib.h>
#include <string.h>

enum kind {
    KIND_U32, /* and int32 */
    KIND_U64,
    KIND_BOOL,
    KIND_TEXT,
    KIND_ONE,  /* a message inside */
    KIND_MANY, /* several */
};

struct row;

struct field {
    enum kind kind;
    const char *name; /* NULL ends the table */
    size_t pb, c;
    size_t max;            /* of a text with its 0; of several, how many */
    size_t pb_count;       /* KIND_MANY: where the counts are */
    size_t c_count;        /* KIND_MANY */
    const struct row *row; /* what is inside */
};

/* One kind of message and its struct. */
struct row {
    const ProtobufCMessageDescriptor *type;
    size_t bytes; /* of the struct */
    const struct field *fields;
};

/* M and S: the message and the struct of the table that they are used in. */
#define FIELD(kind, f) kind, #f, offsetof(M, f), offsetof(S, f)
#define U32(f)                                                                                     \
    {                                                                                              \
        FIELD(KIND_U32, f)                                                                         \
    }
#define U64(f)                                                                                     \
    {                                                                                              \
        FIELD(KIND_U64, f)                                                                         \
    }
#define BOOL(f)                                                                                    \
    {                                                                                              \
        FIELD(KIND_BOOL, f)                                                                        \
    }
#define TEXT(f)                                                                                    \
    {                                                                                              \
        FIELD(KIND_TEXT, f), sizeof(((S *)0)->f)                                                   \
    }
#define ONE(f, row)                                                                                \
    {                                                                                              \
        FIELD(KIND_ONE, f), 0, 0, 0, row                                                           \
    }
#define MANY(f, count, max, row)                                                                   \
    {                                                                                              \
        FIELD(KIND_MANY, f), max, offsetof(M, n_##f), offsetof(S, count), row                      \
    }
#define ROW(name)                                                                                  \
    static const struct row name##_row = {&wire__pb__admin_##name##__descriptor, sizeof(S),        \
                                          name##_fields}

/* -- the tables -------------------------------------------------------------------------------- */

#define M Wire__Pb__AdminSetting
#define S struct wire_admin_setting
static const struct field setting_fields[] = {TEXT(key), TEXT(value), {0}};
ROW(setting);
#undef M
#undef S

#define M Wire__Pb__AdminRequest
#define S struct wire_admin_request
static const struct field request_fields[] = {
    U32(what),
    U32(parts),
    U64(session_id),
    TEXT(tenant),
    U64(deadline_ms),
    BOOL(undo),
    BOOL(stop),
    U32(from_day),
    U32(to_day),
    MANY(settings, setting_count, WIRE_ADMIN_SETTINGS_MAX, &setting_row),
    {0}};
ROW(request);
#undef M
#undef S

#define M Wire__Pb__AdminServer
#define S struct wire_admin_server
static const struct field server_fields[] = {TEXT(name),
                                             TEXT(build),
                                             U32(pid),
                                             U64(started_ms),
                                             U64(now_ms),
                                             TEXT(driver),
                                             U32(driver_version),
                                             BOOL(software),
                                             BOOL(governed),
                                             U32(state),
                                             U64(drain_left_ms),
                                             TEXT(urls),
                                             U32(sessions),
                                             U32(sessions_max),
                                             U32(opening),
                                             U32(workers),
                                             U64(accepted),
                                             U64(refused),
                                             U64(ended),
                                             U64(died),
                                             U64(dropped),
                                             U64(strangers),
                                             U64(paging_host_bytes),
                                             U64(paging_disk_bytes),
                                             U64(paging_packed_bytes),
                                             TEXT(region),
                                             TEXT(cost),
                                             {0}};
ROW(server);
#undef M
#undef S

#define M Wire__Pb__AdminGpu
#define S struct wire_admin_gpu
static const struct field gpu_fields[] = {
    U32(index),      TEXT(name),          TEXT(uuid),       TEXT(pci),     U64(total_bytes),
    U64(used_bytes), U64(promised_bytes), U64(paged_bytes), U32(sessions), U32(tenants),
    U32(major),      U32(minor),          U32(processors),  U64(turn_ns),  {0}};
ROW(gpu);
#undef M
#undef S

#define M Wire__Pb__AdminUse
#define S struct wire_admin_use
static const struct field use_fields[] = {
    U32(gpu), U64(used_bytes), U64(lease_bytes), U64(other_bytes), U64(paged_bytes), U64(turn_ns),
    {0}};
ROW(use);
#undef M
#undef S

#define M Wire__Pb__AdminCounters
#define S struct wire_admin_counters
static const struct field counters_fields[] = {U64(launches),     U64(copies),
                                               U64(memory),       U64(modules),
                                               U64(streams),      U64(graphs),
                                               U64(others),       U64(errors),
                                               U64(waits),        U64(bytes_in),
                                               U64(bytes_out),    U64(turn_wait_ns),
                                               U64(put_in),       U64(put_out),
                                               U64(turn_waits),   U64(paged_in),
                                               U64(paged_out),    U64(paging_ns),
                                               U64(room_wait_ns), U64(put_in_rdma),
                                               U64(put_out_rdma), U64(direct_bytes),
                                               U64(turns_500us),  U64(turns_1ms),
                                               U64(turns_2ms),    U64(turns_5ms),
                                               U64(turns_10ms),   U64(turns_50ms),
                                               U64(turns_200ms),  U64(turns_1s),
                                               U64(turns_longer), U64(turns_ns),
                                               U64(held_ns),      {0}};
ROW(counters);
#undef M
#undef S

#define M Wire__Pb__AdminSession
#define S struct wire_admin_session
static const struct field session_fields[] = {U64(id),
                                              U32(worker),
                                              TEXT(tenant),
                                              TEXT(common_name),
                                              TEXT(program),
                                              TEXT(build),
                                              U32(pid),
                                              TEXT(address),
                                              TEXT(transport),
                                              U32(state),
                                              U64(opened_ms),
                                              U64(idle_ms),
                                              BOOL(monitor),
                                              ONE(counters, &counters_row),
                                              MANY(uses, use_count, WIRE_DEVICES_MAX, &use_row),
                                              U32(activity),
                                              {0}};
ROW(session);
#undef M
#undef S

#define M Wire__Pb__AdminTenant
#define S struct wire_admin_tenant
static const struct field tenant_fields[] = {TEXT(name),
                                             BOOL(gone),
                                             TEXT(priority),
                                             U32(share),
                                             U32(floor),
                                             BOOL(force),
                                             U64(memory_bytes),
                                             U64(memory_total_bytes),
                                             U32(sessions),
                                             U32(sessions_max),
                                             ONE(counters, &counters_row),
                                             U64(sessions_ended),
                                             MANY(uses, use_count, WIRE_DEVICES_MAX, &use_row),
                                             {0}};
ROW(tenant);
#undef M
#undef S

#define M Wire__Pb__AdminTransport
#define S struct wire_admin_transport
static const struct field transport_fields[] = {TEXT(name), U64(bytes_in), U64(bytes_out), {0}};
ROW(transport);
#undef M
#undef S

#define M Wire__Pb__AdminAccount
#define S struct wire_admin_account
static const struct field account_fields[] = {TEXT(tenant),  U64(sessions),  U64(session_ms),
                                              U64(gpu_ms),   U64(launches),  U64(calls),
                                              U64(bytes_in), U64(bytes_out), {0}};
ROW(account);
#undef M
#undef S

#define M Wire__Pb__AdminAnswer
#define S struct wire_admin_answer
static const struct field answer_fields[] = {
    U32(code),
    TEXT(reason),
    TEXT(hint),
    U32(affected),
    ONE(server, &server_row),
    MANY(gpus, gpu_count, WIRE_DEVICES_MAX, &gpu_row),
    MANY(sessions, session_count, WIRE_ADMIN_SESSIONS_MAX, &session_row),
    MANY(tenants, tenant_count, WIRE_ADMIN_TENANTS_MAX, &tenant_row),
    MANY(transports, transport_count, WIRE_ADMIN_TRANSPORTS_MAX, &transport_row),
    MANY(accounts, account_count, WIRE_ADMIN_ACCOUNTS_MAX, &account_row),
    {0}};
ROW(answer);
#undef M
#undef S

/* -- by the tables ----------------------------------------------------------------------------- */

static enum gp_status give(struct wire_pool *pool, const struct row *row, const void *from,
                           void **message_p);

static enum gp_status
give_many(struct wire_pool *pool, const struct field *f, const char *from, char *message)
{
    uint32_t count = *(const uint32_t *)(const void *)(from + f->c_count);
    const char *items = *(char *const *)(const void *)(from + f->c);
    void **messages = wire_pool_alloc(pool, (count + 1) * sizeof(*messages));
    enum gp_status status = GP_OK;

    if (count > f->max)
        return GP_ERR_INVALID;
    if (messages == NULL)
        return GP_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count && status == GP_OK; i++)
        status = give(pool, f->row, items + i * f->row->bytes, &messages[i]);
    *(void ***)(void *)(message + f->pb) = messages;
    *(size_t *)(void *)(message + f->pb_count) = count;
    return status;
}

static enum gp_status
give_field(struct wire_pool *pool, const struct field *f, const char *from, char *message)
{
    const char *in = from + f->c;
    char *out = message + f->pb;
    char *text;

    switch (f->kind) {
    case KIND_U32:
        memcpy(out, in, sizeof(uint32_t));
        return GP_OK;
    case KIND_U64:
        memcpy(out, in, sizeof(uint64_t));
        return GP_OK;
    case KIND_BOOL:
        *(protobuf_c_boolean *)(void *)out = *(const bool *)(const void *)in;
        return GP_OK;
    case KIND_TEXT:
        text = wire_give_text(pool, in, f->max);
        memcpy(out, &text, sizeof(text));
        return text != NULL ? GP_OK : GP_ERR_NO_MEMORY;
    case KIND_ONE:
        return give(pool, f->row, in, (void **)(void *)out);
    default:
        return give_many(pool, f, from, message);
    }
}

static enum gp_status
give(struct wire_pool *pool, const struct row *row, const void *from, void **message_p)
{
    char *message = wire_pool_alloc(pool, row->type->sizeof_message);
    enum gp_status status = GP_OK;

    if (message == NULL)
        return GP_ERR_NO_MEMORY;
    row->type->message_init((ProtobufCMessage *)(void *)message);
    for (const struct field *f = row->fields; f->name != NULL && status == GP_OK; f++)
        status = give_field(pool, f, from, message);
    *message_p = message;
    return status;
}

static enum gp_status take(const struct row *row, const void *message, void *to);

static enum gp_status
take_many(const struct field *f, const char *message, char *to)
{
    void *const *messages = *(void **const *)(const void *)(message + f->pb);
    size_t count = *(const size_t *)(const void *)(message + f->pb_count);
    enum gp_status status = wire_check_count(f->name, count, f->max);
    char *items;

    if (status != GP_OK || count == 0)
        return status;
    items = calloc(count, f->row->bytes);
    if (items == NULL)
        return GP_ERR_NO_MEMORY;
    /* All of them belong to the struct at once, so that its end frees what there is of them. */
    *(char **)(void *)(to + f->c) = items;
    *(uint32_t *)(void *)(to + f->c_count) = (uint32_t)count;
    for (size_t i = 0; i < count && status == GP_OK; i++)
        status = take(f->row, messages[i], items + i * f->row->bytes);
    return status;
}

static enum gp_status
take_field(const struct field *f, const char *message, char *to)
{
    const char *in = message + f->pb;
    char *out = to + f->c;
    void *inside;
    char *text;

    switch (f->kind) {
    case KIND_U32:
        memcpy(out, in, sizeof(uint32_t));
        return GP_OK;
    case KIND_U64:
        memcpy(out, in, sizeof(uint64_t));
        return GP_OK;
    case KIND_BOOL:
        *(bool *)(void *)out = *(const protobuf_c_boolean *)(const void *)in != 0;
        return GP_OK;
    case KIND_TEXT:
        memcpy(&text, in, sizeof(text));
        return wire_take_text(f->name, text, out, f->max);
    case KIND_ONE:
        memcpy(&inside, in, sizeof(inside));
        return inside != NULL ? take(f->row, inside, out) : GP_OK;
    default:
        return take_many(f, message, to);
    }
}

static enum gp_status
take(const struct row *row, const void *message, void *to)
{
    enum gp_status status = GP_OK;

    for (const struct field *f = row->fields; f->name != NULL && status == GP_OK; f++)
        status = take_field(f, message, to);
    return status;
}

static void
row_fini(const struct row *row, char *at)
{
    for (const struct field *f = row->fields; f->name != NULL; f++) {
        char *items;

        if (f->kind != KIND_MANY)
            continue;
        items = *(char **)(void *)(at + f->c);
        for (uint32_t i = 0; items != NULL && i < *(uint32_t *)(void *)(at + f->c_count); i++)
            row_fini(f->row, items + i * f->row->bytes);
        free(items);
    }
    memset(at, 0, row->bytes);
}

static enum gp_status
encode(const struct row *row, const void *in, size_t max, struct gp_buf *out)
{
    struct wire_pool pool = {.limit_bytes = max * WIRE_BLOW_UP};
    enum gp_status status;
    void *message;

    status = give(&pool, row, in, &message);
    if (status == GP_OK)
        status = wire_pack(message, max, out);
    wire_pool_fini(&pool);
    return status;
}

static enum gp_status
decode(const struct row *row, const void *data, size_t bytes, size_t max, void *out_p)
{
    GP_AUTO_FREE void *out = calloc(1, row->bytes);
    struct wire_pool pool;
    const void *message;
    enum gp_status status;

    if (out == NULL)
        return GP_ERR_NO_MEMORY;
    status = wire_unpack(row->type, data, bytes, max, &pool, &message);
    if (status == GP_OK)
        status = take(row, message, out);
    wire_pool_fini(&pool);
    if (status == GP_OK)
        memcpy(out_p, out, row->bytes);
    else
        row_fini(row, out);
    return status;
}

/* -- the messages ------------------------------------------------------------------------------ */

enum gp_status
wire_admin_request_encode(const struct wire_admin_request *in, struct gp_buf *out)
{
    return encode(&request_row, in, WIRE_ADMIN_REQUEST_MAX, out);
}

enum gp_status
wire_admin_request_decode(const void *data, size_t bytes, struct wire_admin_request *out_p)
{
    return decode(&request_row, data, bytes, WIRE_ADMIN_REQUEST_MAX, out_p);
}

void
wire_admin_request_fini(struct wire_admin_request *request)
{
    row_fini(&request_row, (char *)request);
}

enum gp_status
wire_admin_answer_encode(const struct wire_admin_answer *in, struct gp_buf *out)
{
    return encode(&answer_row, in, WIRE_ADMIN_ANSWER_MAX, out);
}

enum gp_status
wire_admin_answer_decode(const void *data, size_t bytes, struct wire_admin_answer *out_p)
{
    return decode(&answer_row, data, bytes, WIRE_ADMIN_ANSWER_MAX, out_p);
}

void
wire_admin_answer_fini(struct wire_admin_answer *answer)
{
    row_fini(&answer_row, (char *)answer);
}
