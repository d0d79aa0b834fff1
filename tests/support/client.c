/* tests/support/client.c */
#include "tests/support/client.h"

#include "protocol/base/clock.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/data.h"
#include "protocol/wire/kernel_table.h"
#include "protocol/wire/negotiate.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS (20 * GP_NS_PER_S)

void
test_client_frame(struct test_client *c, enum wire_frame_kind kind, uint32_t tag,
                  const void *payload, size_t bytes)
{
    struct wire_frame_header header = {
        .payload_bytes = (uint32_t)bytes, .kind = (uint8_t)kind, .tag = tag, .seq = ++c->seq};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)payload, bytes}};
    enum gp_status status;

    wire_frame_encode(&header, head);
    status = tp_send(c->lane, iov, bytes != 0 ? 2 : 1);
    (void)status; /* a line that is gone shows at the next receive */
}

static bool
connect_to(struct test_client *c, const char *url, const struct tp_tls_opts *tls)
{
    struct tp_opts opts = {.framing = &wire_framing, .max_payload_bytes = 64u << 20};

    memset(c, 0, sizeof(*c));
    if (tls != NULL)
        opts.tls = *tls;
    return tp_connect(url, &opts, &c->lane) == GP_OK;
}

static enum gp_status
receive_control(struct test_client *c, uint32_t *tag_p, struct tp_frame *frame)
{
    struct wire_frame_header header;
    enum gp_status status;

    status = tp_recv_frame(c->lane, frame, gp_now_ns() + PATIENCE_NS);
    if (status != GP_OK)
        return status;
    cr_assert_eq(wire_frame_decode(frame->header, WIRE_FRAME_PAYLOAD_MAX, &header), GP_OK);
    if (header.kind == WIRE_FRAME_BYE) {
        c->bye = true;
        c->bye_code = header.tag;
        return GP_ERR_CLOSED;
    }
    cr_assert_eq(header.kind, WIRE_FRAME_HELLO);
    *tag_p = header.tag;
    if (header.tag == WIRE_CONTROL_ERROR)
        cr_assert_eq(wire_error_answer_decode(frame->payload, frame->payload_bytes, &c->refused),
                     GP_OK);
    return GP_OK;
}

bool
test_client_hello(struct test_client *c, const char *url, const struct wire_hello *hello)
{
    GP_AUTO_BUF struct gp_buf message = {0};
    struct tp_frame frame;
    uint32_t tag;

    if (!connect_to(c, url, NULL))
        return false;
    cr_assert_eq(wire_hello_encode(hello, &message), GP_OK);
    test_client_frame(c, WIRE_FRAME_HELLO, WIRE_CONTROL_HELLO, message.data, message.len);
    if (receive_control(c, &tag, &frame) != GP_OK || tag != WIRE_CONTROL_HELLO)
        return false;
    cr_assert_eq(wire_hello_decode(frame.payload, frame.payload_bytes, &c->server), GP_OK);
    return true;
}

bool
test_client_open(struct test_client *c, const char *url, const struct tp_tls_opts *tls)
{
    return test_client_open_with(c, url, tls, 0);
}

bool
test_client_open_with(struct test_client *c, const char *url, const struct tp_tls_opts *tls,
                      uint64_t features)
{
    static struct wire_hello hello;
    struct wire_open_request request = {0};
    GP_AUTO_BUF struct gp_buf message = {0};
    struct tp_frame frame;
    uint32_t tag;

    if (!connect_to(c, url, tls))
        return false;
    hello = (struct wire_hello){.wire_format = WIRE_FORMAT,
                                .minor = WIRE_MINOR,
                                .features = features,
                                .max_payload_bytes = 64u << 20,
                                .pid = (uint32_t)getpid(),
                                .build = "test",
                                .program = "test"};
    cr_assert_eq(wire_hello_encode(&hello, &message), GP_OK);
    test_client_frame(c, WIRE_FRAME_HELLO, WIRE_CONTROL_HELLO, message.data, message.len);
    gp_buf_reset(&message);
    cr_assert_eq(wire_open_request_encode(&request, &message), GP_OK);
    test_client_frame(c, WIRE_FRAME_HELLO, WIRE_CONTROL_OPEN, message.data, message.len);
    if (receive_control(c, &tag, &frame) != GP_OK || tag != WIRE_CONTROL_HELLO)
        return false;
    cr_assert_eq(wire_hello_decode(frame.payload, frame.payload_bytes, &c->server), GP_OK);
    if (receive_control(c, &tag, &frame) != GP_OK || tag != WIRE_CONTROL_ANSWER)
        return false;
    cr_assert_eq(wire_open_answer_decode(frame.payload, frame.payload_bytes, &c->answer), GP_OK);
    return true;
}

static void
client_fini(struct test_client *c)
{
    wire_open_answer_fini(&c->answer);
    gp_buf_fini(&c->row);
    gp_buf_fini(&c->data);
    gp_buf_fini(&c->print);
    gp_buf_fini(&c->freed);
    gp_buf_fini(&c->notices);
    free(c->reply);
    c->reply = NULL;
}

void
test_client_abandon(struct test_client *c)
{
    if (c->lane != NULL)
        tp_abandon(c->lane);
    client_fini(c);
}

void
test_client_close(struct test_client *c)
{
    if (c->lane == NULL)
        return;
    test_client_frame(c, WIRE_FRAME_BYE, WIRE_CODE_OK, NULL, 0);
    while (test_client_receive(c, gp_now_ns() + PATIENCE_NS))
        ;
    tp_close(c->lane);
    client_fini(c);
}

uint8_t *
test_client_add(struct test_client *c, uint16_t call, size_t bytes)
{
    struct wire_record record = {
        .bytes = (uint32_t)(sizeof(record) + WIRE_PAD(bytes)), .call = call, .context = c->context};
    uint8_t *to = gp_buf_reserve(&c->row, record.bytes);

    cr_assert_not_null(to);
    if (wire_calls[call].sync)
        record.tag = ++c->tags;
    memcpy(to, &record, sizeof(record));
    c->row.len += record.bytes;
    c->records++;
    return to + sizeof(record);
}

void
test_client_send(struct test_client *c)
{
    test_client_frame(c, WIRE_FRAME_CALLS, c->records, c->row.data, c->row.len);
    gp_buf_reset(&c->row);
    c->records = 0;
}

static void
take_reply(struct test_client *c, const uint8_t *row, size_t len)
{
    struct wire_record record;
    const uint8_t *body;
    size_t body_len;
    bool bad = false;

    while (wire_next_record(&row, &len, &record, &body, &body_len, &bad)) {
        cr_assert_geq(body_len, sizeof(c->result));
        memcpy(&c->result, body, sizeof(c->result));
        free(c->reply);
        c->reply_len = body_len - sizeof(c->result);
        c->reply = malloc(c->reply_len + 1);
        memcpy(c->reply, body + sizeof(c->result), c->reply_len);
        c->reply_tag = record.tag;
    }
    cr_assert(!bad);
}

static void
take_notice(struct test_client *c, const uint8_t *row, size_t len)
{
    struct wire_record record;
    const uint8_t *body, *all = row;
    size_t body_len;
    bool bad = false;

    while (wire_next_record(&row, &len, &record, &body, &body_len, &bad)) {
        cr_assert(wire_calls[record.call].check(body, body_len));
        if (record.call == WIRE_CALL_gpNoticePrint) {
            struct wire_gpNoticePrint_args args;

            cr_assert(wire_get_gpNoticePrint_args(body, body_len, &args));
            gp_buf_append(&c->print, args.text, args.text_len);
        } else if (record.call == WIRE_CALL_gpNoticeFreed) {
            struct wire_gpNoticeFreed_args args;

            cr_assert(wire_get_gpNoticeFreed_args(body, body_len, &args));
            gp_buf_append(&c->freed, args.addresses, args.addresses_len * 8);
        } else {
            gp_buf_append(&c->notices, all, record.bytes);
        }
        all = row;
    }
    cr_assert(!bad);
}

static void
take_data(struct test_client *c, uint32_t tag, const uint8_t *payload, size_t len)
{
    struct wire_data head;

    cr_assert_geq(len, sizeof(head));
    memcpy(&head, payload, sizeof(head));
    c->data_id = tag;
    if (head.flags & WIRE_DATA_FAILED) {
        c->data_failed++;
    } else {
        if (c->data.len == 0 || head.offset != 0)
            cr_assert_eq(head.offset, c->data.len, "data out of order");
        gp_buf_append(&c->data, payload + sizeof(head), len - sizeof(head));
    }
    if (head.flags & WIRE_DATA_LAST)
        c->data_last++;
}

bool
test_client_receive(struct test_client *c, uint64_t deadline_ns)
{
    struct wire_frame_header header;
    struct tp_frame frame;
    enum gp_status status;

    do
        status = tp_recv_frame(c->lane, &frame, deadline_ns);
    while (status == GP_ERR_AGAIN);
    cr_assert_neq(status, GP_ERR_TIMEOUT, "the server says nothing");
    if (status != GP_OK)
        return false;
    cr_assert_eq(wire_frame_decode(frame.header, WIRE_FRAME_PAYLOAD_MAX, &header), GP_OK);
    switch (header.kind) {
    case WIRE_FRAME_REPLY:
        take_reply(c, frame.payload, frame.payload_bytes);
        break;
    case WIRE_FRAME_NOTICE:
        take_notice(c, frame.payload, frame.payload_bytes);
        break;
    case WIRE_FRAME_DATA:
        take_data(c, header.tag, frame.payload, frame.payload_bytes);
        break;
    case WIRE_FRAME_PONG:
        c->pongs++;
        break;
    case WIRE_FRAME_BYE:
        c->bye = true;
        c->bye_code = header.tag;
        break;
    default:
        break;
    }
    return true;
}

int
test_client_wait(struct test_client *c, uint32_t tag)
{
    if (tag == 0)
        tag = c->tags;
    while (c->reply_tag != tag)
        if (!test_client_receive(c, gp_now_ns() + PATIENCE_NS))
            return -1;
    return c->result.result;
}

int
test_client_call(struct test_client *c)
{
    test_client_send(c);
    return test_client_wait(c, 0);
}

void
test_client_start(struct test_client *c, const char *url)
{
    cr_assert(test_client_open(c, url, NULL), "%s", c->refused.reason);
    test_client_begin(c);
}

void
test_client_begin(struct test_client *c)
{
    int deferred;

    TEST_ADD(c, cuDevicePrimaryCtxRetain, .device = 0, .context = ID(1));
    c->context = 1;
    deferred = test_client_deferred(c);
    cr_assert_eq(deferred, CUDA_SUCCESS, "deferred %d", deferred);
}

int
test_client_deferred(struct test_client *c)
{
    TEST_ADD(c, gpBarrier, 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    return c->result.deferred;
}

int
test_client_module(struct test_client *c, uint64_t id, const char *ptx)
{
    size_t len = strlen(ptx) + 1;

    TEST_ADD(c, gpUpload, .upload = 7, .total = len, .offset = 0, .data = (const uint8_t *)ptx,
             .data_len = (uint32_t)len);
    TEST_ADD(c, cuModuleLoadDataEx, .module = id, .upload = 7, .kind = 4, .error_bytes = 1024);
    return test_client_call(c);
}

int
test_client_kernel(struct test_client *c, const char *name)
{
    struct wire_cuModuleLoadDataEx_reply reply;
    const struct wire_kernel_param *params;
    struct wire_kernel_row row;
    const uint8_t *table;
    const char *kernel;
    bool bad = false;
    size_t len;

    cr_assert(wire_get_cuModuleLoadDataEx_reply(c->reply, c->reply_len, &reply));
    table = reply.table;
    len = reply.table_len;
    while (wire_kernel_next(&table, &len, &row, &params, &kernel, &bad))
        if (strcmp(kernel, name) == 0)
            return (int)row.row;
    cr_assert(!bad);
    return -1;
}
