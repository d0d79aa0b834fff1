/* tests/unit/wire/test_control.c -- hello and session opening there and back, and refused */
#include "protocol/wire/control.h"
#include "protocol/wire/frame.h"
#include "protocol/wire/negotiate.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct wire_hello *
sample_hello(void)
{
    struct wire_hello *hello = calloc(1, sizeof(*hello));

    hello->wire_format = WIRE_FORMAT;
    hello->minor = 3;
    hello->features = WIRE_FEATURE_RESUME | 1ull << 63;
    hello->max_payload_bytes = WIRE_FRAME_PAYLOAD_DEFAULT;
    hello->pid = 4711;
    strcpy(hello->build, "gpupool test");
    strcpy(hello->program, "vector\xc3\xa4"
                           "dd");
    wire_call_set_add(&hello->calls, 0);
    wire_call_set_add(&hello->calls, 0x0501);
    wire_call_set_add(&hello->calls, 0xffff);
    return hello;
}

Test(control, hello_comes_back_as_it_was)
{
    struct wire_hello *in = sample_hello(), *out = malloc(sizeof(*out));
    struct gp_buf buf = {0};

    cr_assert_eq(wire_hello_encode(in, &buf), GP_OK);
    cr_assert_lt(buf.len, 300, "an empty call set costs nothing: %zu bytes", buf.len);
    cr_assert_eq(wire_hello_decode(buf.data, buf.len, out), GP_OK);
    cr_assert_eq(memcmp(in, out, sizeof(*in)), 0);
    cr_assert(wire_call_set_has(&out->calls, 0x0501));
    cr_assert_not(wire_call_set_has(&out->calls, 0x0502));
    gp_buf_fini(&buf);
    free(in);
    free(out);
}

Test(control, our_own_odd_text_is_made_plain_not_refused)
{
    struct wire_hello *in = sample_hello(), *out = malloc(sizeof(*out));
    struct gp_buf buf = {0};

    strcpy(in->program, "a\nb\xff\xc3");
    cr_assert_eq(wire_hello_encode(in, &buf), GP_OK);
    cr_assert_eq(wire_hello_decode(buf.data, buf.len, out), GP_OK);
    cr_assert_str_eq(out->program, "a?b??");
    gp_buf_fini(&buf);
    free(in);
    free(out);
}

Test(control, hello_cut_anywhere_is_refused_or_shorter_but_never_misread)
{
    struct wire_hello *in = sample_hello(), *out = malloc(sizeof(*out));
    struct gp_buf buf = {0};

    cr_assert_eq(wire_hello_encode(in, &buf), GP_OK);
    for (size_t n = 0; n < buf.len; n++) {
        uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees a read past the end */

        memcpy(exact, buf.data, n);
        if (wire_hello_decode(exact, n, out) == GP_OK)
            cr_assert(out->wire_format == in->wire_format || out->wire_format == 0);
        free(exact);
    }
    gp_buf_fini(&buf);
    free(in);
    free(out);
}

/* A field as protobuf has it: number, wire type 2, bytes. */
static void
put_field(struct gp_buf *buf, unsigned number, const void *data, size_t bytes)
{
    uint8_t head[6] = {(uint8_t)(number << 3 | 2)};
    size_t n = 1;

    for (size_t left = bytes;; left >>= 7) {
        head[n++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        if (left <= 0x7f)
            break;
    }
    gp_buf_append(buf, head, n);
    gp_buf_append(buf, data, bytes);
}

Test(control, texts_over_their_maximum_or_not_plain_are_refused)
{
    static const char *const bad[] = {
        "a\nb",         "\x1b[31m",         "\xff",     "\xc3",   "\xc0\x80",
        "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc2\x85", "del\x7f"};
    struct wire_error_answer out;
    struct gp_buf buf = {0};
    char longest[WIRE_TEXT_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    put_field(&buf, 2, longest, WIRE_TEXT_MAX);
    cr_assert_eq(wire_error_answer_decode(buf.data, buf.len, &out), GP_OK);
    cr_assert_eq(strlen(out.reason), WIRE_TEXT_MAX);
    gp_buf_reset(&buf);
    put_field(&buf, 2, longest, WIRE_TEXT_MAX + 1);
    cr_assert_eq(wire_error_answer_decode(buf.data, buf.len, &out), GP_ERR_PROTOCOL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        gp_buf_reset(&buf);
        put_field(&buf, 3, bad[i], strlen(bad[i]));
        cr_assert_eq(wire_error_answer_decode(buf.data, buf.len, &out), GP_ERR_PROTOCOL, "%zu", i);
    }
    gp_buf_fini(&buf);
}

Test(control, fields_of_later_versions_are_skipped)
{
    struct wire_error_answer in = {.code = WIRE_CODE_QUOTA, .reason = "8 GiB is the quota"}, out;
    struct gp_buf buf = {0};

    cr_assert_eq(wire_error_answer_encode(&in, &buf), GP_OK);
    put_field(&buf, 15, "something new", 13);
    cr_assert_eq(wire_error_answer_decode(buf.data, buf.len, &out), GP_OK);
    cr_assert_eq(out.code, WIRE_CODE_QUOTA);
    cr_assert_str_eq(out.reason, in.reason);
    cr_assert_str_eq(out.hint, "");
    gp_buf_fini(&buf);
}

Test(control, open_request_comes_back_as_it_was)
{
    struct wire_wanted wanted[3] = {{"GPU-1234"}, {"h200"}, {"0"}};
    struct wire_open_request in = {.resume_id = 5,
                                   .resume_secret = {1, 2, 3},
                                   .resume_received_seq = 77,
                                   .wanted_count = 3,
                                   .wanted = wanted,
                                   .device_base_hint = 0x500000000000,
                                   .device_bytes_hint = 1ull << 42,
                                   .monitor = true};
    struct wire_open_request out;
    struct gp_buf buf = {0};

    cr_assert_eq(wire_open_request_encode(&in, &buf), GP_OK);
    cr_assert_eq(wire_open_request_decode(buf.data, buf.len, &out), GP_OK);
    cr_assert_eq(out.resume_id, 5);
    cr_assert_eq(memcmp(out.resume_secret, in.resume_secret, WIRE_SECRET_BYTES), 0);
    cr_assert_eq(out.resume_received_seq, 77);
    cr_assert_eq(out.wanted_count, 3);
    cr_assert_str_eq(out.wanted[1].text, "h200");
    cr_assert_eq(out.device_base_hint, in.device_base_hint);
    cr_assert_eq(out.device_bytes_hint, in.device_bytes_hint);
    cr_assert(out.monitor);
    wire_open_request_fini(&out);

    in.wanted_count = WIRE_WANTED_MAX + 1;
    cr_assert_eq(wire_open_request_encode(&in, &buf), GP_ERR_INVALID);
    gp_buf_reset(&buf);
    for (int i = 0; i <= WIRE_WANTED_MAX; i++)
        put_field(&buf, 4, "x", 1);
    cr_assert_eq(wire_open_request_decode(buf.data, buf.len, &out), GP_ERR_PROTOCOL);
    gp_buf_fini(&buf);
}

Test(control, open_answer_with_all_devices_comes_back_as_it_was)
{
    struct wire_device *devices = calloc(WIRE_DEVICES_MAX, sizeof(*devices));
    struct wire_open_answer in = {.session_id = 1ull << 60,
                                  .driver_version = 13000,
                                  .driver = "software device",
                                  .server = "rack 7",
                                  .software = true,
                                  .device_range = {0x500000000000, 1ull << 44},
                                  .host_range = {0x600000000000, 1ull << 40},
                                  .heartbeat_ms = 1000,
                                  .grace_ms = 60000,
                                  .device_count = WIRE_DEVICES_MAX,
                                  .devices = devices};
    struct wire_open_answer out;
    struct gp_buf buf = {0};

    memset(in.resume_secret, 0xa5, sizeof(in.resume_secret));
    for (int i = 0; i < WIRE_DEVICES_MAX; i++) {
        snprintf(devices[i].name, sizeof(devices[i].name), "device %d", i);
        memset(devices[i].uuid, i, WIRE_UUID_BYTES);
        memset(devices[i].uuid_v2, 255 - i, WIRE_UUID_BYTES);
        snprintf(devices[i].pci_bus_id, sizeof(devices[i].pci_bus_id), "0000:%02x:00.0", i);
        devices[i].total_bytes = 141ull << 30;
        devices[i].lease_bytes = 1ull << 30;
        devices[i].stream_priority_greatest = -5;
        devices[i].attribute_count = 148;
        for (int a = 0; a < 148; a++)
            devices[i].attributes[a] = a * i - 1000;
        for (int j = 0; j < WIRE_DEVICES_MAX; j++)
            devices[i].peer_bits[j] = (uint32_t)(i ^ j);
    }
    cr_assert_eq(wire_open_answer_encode(&in, &buf), GP_OK);
    cr_assert_eq(wire_open_answer_decode(buf.data, buf.len, &out), GP_OK);
    cr_assert_eq(out.device_count, WIRE_DEVICES_MAX);
    cr_assert_eq(memcmp(out.devices, devices, WIRE_DEVICES_MAX * sizeof(*devices)), 0);
    cr_assert_eq(memcmp(out.resume_secret, in.resume_secret, WIRE_SECRET_BYTES), 0);
    cr_assert_eq(out.session_id, in.session_id);
    cr_assert_eq(out.driver_version, 13000);
    cr_assert_str_eq(out.driver, in.driver);
    cr_assert(out.software);
    cr_assert_eq(out.device_range.bytes, in.device_range.bytes);
    cr_assert_eq(out.host_range.base, in.host_range.base);
    cr_assert_eq(out.grace_ms, 60000);
    wire_open_answer_fini(&out);

    in.device_range.base = UINT64_MAX;
    gp_buf_reset(&buf);
    cr_assert_eq(wire_open_answer_encode(&in, &buf), GP_OK);
    cr_assert_eq(wire_open_answer_decode(buf.data, buf.len, &out), GP_ERR_PROTOCOL, "it wraps");
    gp_buf_fini(&buf);
    free(devices);
}

Test(control, message_of_many_empty_parts_stays_within_its_memory)
{
    struct wire_open_answer out;
    struct gp_buf buf = {0};

    while (buf.len < WIRE_CONTROL_BYTES_MAX - 2)
        put_field(&buf, 12, "", 0); /* an empty device: 2 bytes that become a struct */
    cr_assert_eq(wire_open_answer_decode(buf.data, buf.len, &out), GP_ERR_PROTOCOL);
    gp_buf_append(&buf, buf.data, 2);
    gp_buf_append(&buf, "xx", 2);
    cr_assert_eq(wire_open_answer_decode(buf.data, buf.len, &out), GP_ERR_PROTOCOL);
    gp_buf_fini(&buf);
}

Test(negotiate, two_hellos_agree_on_what_both_can)
{
    static const struct {
        uint32_t format[2], minor[2];
        uint64_t features[2];
        uint32_t max[2];
        enum gp_status status;
        struct wire_agreed agreed;
    } cases[] = {
        {{1, 1}, {0, 0}, {7, 7}, {1 << 20, 1 << 20}, GP_OK, {0, 7, 1 << 20}},
        {{1, 1}, {2, 5}, {6, 3}, {1 << 20, 1 << 24}, GP_OK, {2, 2, 1 << 20}},
        {{1, 1}, {9, 1}, {1, 2}, {1u << 31, 1u << 30}, GP_OK, {1, 0, WIRE_FRAME_PAYLOAD_MAX}},
        {{1, 2}, {0, 0}, {7, 7}, {1 << 20, 1 << 20}, GP_ERR_VERSION, {0}},
        {{2, 1}, {0, 0}, {7, 7}, {1 << 20, 1 << 20}, GP_ERR_VERSION, {0}},
        {{1, 1}, {0, 0}, {7, 7}, {1 << 20, 100}, GP_ERR_PROTOCOL, {0}},
    };
    struct wire_hello *mine = calloc(1, sizeof(*mine)), *peer = calloc(1, sizeof(*peer));

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wire_agreed agreed = {0};
        struct wire_error_answer no = {0};

        mine->wire_format = cases[i].format[0], peer->wire_format = cases[i].format[1];
        mine->minor = cases[i].minor[0], peer->minor = cases[i].minor[1];
        mine->features = cases[i].features[0], peer->features = cases[i].features[1];
        mine->max_payload_bytes = cases[i].max[0], peer->max_payload_bytes = cases[i].max[1];
        cr_assert_eq(wire_negotiate(mine, peer, &agreed, &no), cases[i].status, "case %zu", i);
        cr_assert_eq(agreed.minor, cases[i].agreed.minor);
        cr_assert_eq(agreed.features, cases[i].agreed.features);
        cr_assert_eq(agreed.max_payload_bytes, cases[i].agreed.max_payload_bytes);
        cr_assert_eq(no.reason[0] != '\0', cases[i].status != GP_OK);
    }
    free(mine);
    free(peer);
}

Test(negotiate, features_have_names)
{
    uint64_t bit = 0;

    cr_assert_eq(wire_feature_by_name("resume", &bit), GP_OK);
    cr_assert_eq(bit, WIRE_FEATURE_RESUME);
    cr_assert_eq(wire_feature_by_name("nonsense", &bit), GP_ERR_NOT_FOUND);
}

Test(control, every_code_has_words)
{
    for (uint32_t code = WIRE_CODE_OK; code <= WIRE_CODE_KICKED; code++)
        cr_assert_str_neq(wire_control_code_text(code), "unknown reason");
    cr_assert_str_eq(wire_control_code_text(9999), "unknown reason");
}
