/* tests/unit/wire/test_frame.c -- the header's layout and what is refused */
#include "protocol/wire/frame.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct wire_frame_header sample = {
    .payload_bytes = 0x00010203,
    .kind = WIRE_FRAME_CALLS,
    .flags = WIRE_FRAME_MORE,
    .tag = 0x11121314,
    .seq = 0x2122232425262728,
    .ack = 0x3132333435363738,
};

/* Frozen: a released peer reads exactly this. */
static const uint8_t frozen[WIRE_FRAME_HEADER_BYTES] = {
    'G',  'P',  'F',  '1',  0x03, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x00, 0x14, 0x13, 0x12, 0x11,
    0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31,
};

Test(frame, layout_is_frozen)
{
    struct wire_frame_header back;
    uint8_t out[WIRE_FRAME_HEADER_BYTES];

    wire_frame_encode(&sample, out);
    cr_assert_eq(memcmp(out, frozen, sizeof(out)), 0);
    cr_assert_eq(wire_frame_decode(frozen, WIRE_FRAME_PAYLOAD_DEFAULT, &back), GP_OK);
    cr_assert_eq(back.payload_bytes, sample.payload_bytes);
    cr_assert_eq(back.kind, sample.kind);
    cr_assert_eq(back.flags, sample.flags);
    cr_assert_eq(back.tag, sample.tag);
    cr_assert_eq(back.seq, sample.seq);
    cr_assert_eq(back.ack, sample.ack);
}

Test(frame, wrong_magic_kind_and_reserved_bits_are_refused)
{
    static const struct {
        int at;
        uint8_t value;
    } wrong[] = {{0, 'g'}, {3, '2'}, {8, 0}, {8, WIRE_FRAME_KIND_END}, {8, 255}, {10, 1}, {11, 1}};
    struct wire_frame_header back;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t in[WIRE_FRAME_HEADER_BYTES];

        memcpy(in, frozen, sizeof(in));
        in[wrong[i].at] = wrong[i].value;
        cr_assert_eq(wire_frame_decode(in, UINT32_MAX, &back), GP_ERR_PROTOCOL, "byte %d",
                     wrong[i].at);
    }
}

Test(frame, payload_over_the_limit_is_refused)
{
    struct wire_frame_header h = sample, back;
    uint8_t in[WIRE_FRAME_HEADER_BYTES];
    uint32_t bytes = 7;

    cr_assert_eq(wire_frame_decode(frozen, sample.payload_bytes, &back), GP_OK);
    cr_assert_eq(wire_frame_decode(frozen, sample.payload_bytes - 1, &back), GP_ERR_LIMIT);
    h.payload_bytes = WIRE_FRAME_PAYLOAD_MAX + 1;
    wire_frame_encode(&h, in);
    cr_assert_eq(wire_frame_decode(in, UINT32_MAX, &back), GP_ERR_LIMIT);
    cr_assert_eq(wire_framing.measure(in, UINT32_MAX, &bytes), GP_ERR_LIMIT);
    cr_assert_eq(bytes, 7);
    cr_assert_eq(wire_framing.measure(frozen, UINT32_MAX, &bytes), GP_OK);
    cr_assert_eq(bytes, sample.payload_bytes);
}

Test(frame, every_kind_has_a_name)
{
    for (unsigned kind = WIRE_FRAME_HELLO; kind < WIRE_FRAME_KIND_END; kind++)
        cr_assert_str_neq(wire_frame_kind_text(kind), "?");
    cr_assert_str_eq(wire_frame_kind_text(0), "?");
    cr_assert_str_eq(wire_frame_kind_text(WIRE_FRAME_KIND_END), "?");
}
