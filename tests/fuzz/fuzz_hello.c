/* tests/fuzz/fuzz_hello.c -- a peer's control messages
 *
 * Byte 0 says which message. What decodes must encode, and decode to the same again.
 */
#include "tests/fuzz/fuzz.h"

#include "protocol/base/log.h"
#include "protocol/wire/admin.h"
#include "protocol/wire/control.h"
#include "protocol/wire/negotiate.h"
#include "protocol/wire/preface.h"
#include "protocol/wire/put.h"
#include "transport/rdma/offer.h"

#include <stdlib.h>
#include <string.h>

/* Encoded text is cut and cleaned; what came from a decoder is neither, so it stays equal. */
static void
hello(const uint8_t *data, size_t size)
{
    static struct wire_hello a, b; /* 8 KiB each */
    struct wire_error_answer no;
    struct wire_agreed agreed;
    struct gp_buf buf = {0};

    if (wire_hello_decode(data, size, &a) != GP_OK)
        return;
    MUST(wire_hello_encode(&a, &buf) == GP_OK);
    MUST(wire_hello_decode(buf.data, buf.len, &b) == GP_OK);
    MUST(memcmp(&a, &b, sizeof(a)) == 0);
    if (wire_negotiate(&a, &b, &agreed, &no) == GP_OK)
        MUST(agreed.features == a.features && agreed.minor == a.minor);
    gp_buf_fini(&buf);
}

static void
open_request(const uint8_t *data, size_t size)
{
    struct wire_open_request a, b;
    struct gp_buf buf = {0};

    if (wire_open_request_decode(data, size, &a) != GP_OK)
        return;
    MUST(wire_open_request_encode(&a, &buf) == GP_OK);
    MUST(wire_open_request_decode(buf.data, buf.len, &b) == GP_OK);
    MUST(a.wanted_count == b.wanted_count && a.resume_id == b.resume_id);
    MUST(a.wanted_count == 0 ||
         memcmp(a.wanted, b.wanted, a.wanted_count * sizeof(*a.wanted)) == 0);
    wire_open_request_fini(&a);
    wire_open_request_fini(&b);
    gp_buf_fini(&buf);
}

static void
open_answer(const uint8_t *data, size_t size)
{
    struct wire_open_answer a, b;
    struct gp_buf buf = {0};
    enum gp_status status;

    if (wire_open_answer_decode(data, size, &a) != GP_OK)
        return;
    status = wire_open_answer_encode(&a, &buf);
    /* Many devices without peer entries get them on the way back, which may be too long. */
    MUST(status == GP_OK || status == GP_ERR_INVALID);
    if (status == GP_OK) {
        MUST(wire_open_answer_decode(buf.data, buf.len, &b) == GP_OK);
        MUST(a.lane_count == b.lane_count && memcmp(a.lanes, b.lanes, sizeof(a.lanes)) == 0);
        MUST(a.device_count == b.device_count && a.device_range.base == b.device_range.base);
        for (uint32_t i = 0; i < a.device_count; i++)
            MUST(memcmp(a.devices[i].attributes, b.devices[i].attributes,
                        sizeof(a.devices[i].attributes)) == 0);
        wire_open_answer_fini(&b);
    }
    wire_open_answer_fini(&a);
    gp_buf_fini(&buf);
}

static void
error_answer(const uint8_t *data, size_t size)
{
    struct wire_error_answer a = {0}, b = {0};
    struct gp_buf buf = {0};

    if (wire_error_answer_decode(data, size, &a) != GP_OK)
        return;
    MUST(wire_error_answer_encode(&a, &buf) == GP_OK);
    MUST(wire_error_answer_decode(buf.data, buf.len, &b) == GP_OK);
    MUST(a.code == b.code && strcmp(a.reason, b.reason) == 0 && strcmp(a.hint, b.hint) == 0);
    MUST(wire_control_code_text(a.code)[0] != '\0');
    gp_buf_fini(&buf);
}

static void
resume(const uint8_t *data, size_t size)
{
    struct wire_resume a, b;
    struct gp_buf buf = {0};

    if (wire_resume_decode(data, size, &a) != GP_OK)
        return;
    MUST(wire_resume_encode(&a, &buf) == GP_OK);
    MUST(wire_resume_decode(buf.data, buf.len, &b) == GP_OK);
    MUST(memcmp(&a, &b, sizeof(a)) == 0);
    gp_buf_fini(&buf);
}

static void
resumed(const uint8_t *data, size_t size)
{
    struct wire_resumed a, b;
    struct gp_buf buf = {0};

    if (wire_resumed_decode(data, size, &a) != GP_OK)
        return;
    MUST(wire_resumed_encode(&a, &buf) == GP_OK);
    MUST(wire_resumed_decode(buf.data, buf.len, &b) == GP_OK);
    MUST(a.received_bytes == b.received_bytes);
    gp_buf_fini(&buf);
}

static void
put(const uint8_t *data, size_t size)
{
    uint8_t again[WIRE_PUT_BYTES], done[WIRE_PUT_DONE_BYTES], token[WIRE_PUT_TOKEN_BYTES];
    char name[WIRE_PUT_NAME_MAX];
    struct wire_put_done d;
    struct wire_put a;
    uint64_t id;

    if (wire_put_decode(data, size, &a) == GP_OK) {
        wire_put_encode(&a, again);
        MUST(memcmp(again, data, sizeof(again)) == 0);
    }
    if (wire_put_done_decode(data, size, &d) == GP_OK) {
        wire_put_done_encode(&d, done);
        MUST(memcmp(done, data, sizeof(done)) == 0);
    }
    if (wire_put_token_decode(data, size, &a.id, a.secret) == GP_OK) {
        wire_put_token_encode(a.id, a.secret, token);
        MUST(memcmp(token, data, sizeof(token)) == 0);
    }
    if (wire_put_name_decode(data, size, &id) == GP_OK) {
        wire_put_name(id, name);
        MUST(strlen(name) == size && memcmp(name, data, size) == 0);
    }
}

static void
preface(const uint8_t *data, size_t size)
{
    uint8_t again[WIRE_PREFACE_BYTES];
    uint64_t id = 0;

    (void)wire_preface_begins(data, size);
    if (size < WIRE_PREFACE_BYTES || wire_preface_decode(data, &id) != GP_OK)
        return;
    MUST(id != 0 && wire_preface_begins(data, size));
    wire_preface_encode(id, again);
    MUST(memcmp(again, data, sizeof(again)) == 0);
}

static void
admin_request(const uint8_t *data, size_t size)
{
    struct wire_admin_request a, b;
    struct gp_buf buf = {0};

    if (wire_admin_request_decode(data, size, &a) != GP_OK)
        return;
    MUST(wire_admin_request_encode(&a, &buf) == GP_OK);
    MUST(wire_admin_request_decode(buf.data, buf.len, &b) == GP_OK);
    MUST(a.what == b.what && a.session_id == b.session_id && a.setting_count == b.setting_count);
    MUST(a.setting_count == 0 ||
         memcmp(a.settings, b.settings, a.setting_count * sizeof(*a.settings)) == 0);
    wire_admin_request_fini(&a);
    wire_admin_request_fini(&b);
    gp_buf_fini(&buf);
}

static void
admin_answer(const uint8_t *data, size_t size)
{
    struct wire_admin_answer a, b;
    struct gp_buf buf = {0};

    if (wire_admin_answer_decode(data, size, &a) != GP_OK)
        return;
    MUST(wire_admin_answer_encode(&a, &buf) == GP_OK);
    MUST(wire_admin_answer_decode(buf.data, buf.len, &b) == GP_OK);
    MUST(memcmp(&a.server, &b.server, sizeof(a.server)) == 0);
    MUST(a.gpu_count == b.gpu_count && a.session_count == b.session_count &&
         a.tenant_count == b.tenant_count);
    MUST(a.gpu_count == 0 || memcmp(a.gpus, b.gpus, a.gpu_count * sizeof(*a.gpus)) == 0);
    wire_admin_answer_fini(&a);
    wire_admin_answer_fini(&b);
    gp_buf_fini(&buf);
}

static void
rdma_offer(const uint8_t *data, size_t size)
{
    uint8_t again[TP_RDMA_OFFER_BYTES];
    static struct tp_rdma_offer a, b; /* zeros between the fields */
    uint32_t bytes = 0;

    if (size >= TP_RDMA_HEADER_BYTES && tp_rdma_framing.measure(data, 4096, &bytes) == GP_OK)
        MUST(bytes <= TP_RDMA_TEXT_MAX);
    if (tp_rdma_offer_decode(data, (uint32_t)size, &a) != GP_OK)
        return;
    /* What is believed has room for a ring, and pairs that there can be. */
    MUST(a.ring_bytes != 0 && a.ring_address + a.ring_bytes > a.ring_address && a.messages != 0);
    tp_rdma_offer_encode(&a, again);
    MUST(tp_rdma_offer_decode(again, sizeof(again), &b) == GP_OK);
    MUST(memcmp(&a, &b, sizeof(a)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const ways[])(const uint8_t *, size_t) = {
        hello,   open_request,  open_answer,  error_answer, resume, resumed,
        preface, admin_request, admin_answer, rdma_offer,   put};

    gp_log_set_level(GP_LOG_ERROR);
    if (size > 0)
        ways[data[0] % GP_ARRAY_LEN(ways)](data + 1, size - 1);
    return 0;
}
