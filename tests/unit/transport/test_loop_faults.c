/* tests/unit/transport/test_loop_faults.c -- short reads and writes, cuts, delay */
#include "tests/unit/transport/pair.h"

#include <criterion/criterion.h>
#include <string.h>

static void
open_with(struct tp_loop_faults faults, struct test_pair *p)
{
    struct tp_loop_faults both[2] = {faults, {0}};
    struct tp_opts opts = {.framing = &wire_framing};

    cr_assert_eq(tp_loop_pair(&opts, both, &p->client, &p->server), GP_OK);
}

Test(loop_faults, bytes_that_come_one_by_one_make_the_same_frames, .timeout = 60)
{
    static const size_t steps[] = {1, 2, 3, 7, 31, 33};
    struct tp_frame frame;
    uint8_t payload[300];
    struct test_pair p;

    test_fill(payload, sizeof(payload), 1);
    for (size_t i = 0; i < GP_ARRAY_LEN(steps); i++) {
        open_with((struct tp_loop_faults){.read_max = steps[i], .write_max = 40 - steps[i]}, &p);
        for (uint32_t tag = 0; tag < 5; tag++)
            cr_assert_eq(test_send(p.client, tag, payload, 60 * tag), GP_OK);
        for (uint32_t tag = 0; tag < 5; tag++) {
            cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
            cr_assert_eq(test_tag(&frame), tag);
            cr_assert_eq(frame.payload_bytes, 60 * tag);
            cr_assert(test_is_filled(frame.payload, frame.payload_bytes, 1));
        }
        test_pair_close(&p);
    }
}

Test(loop_faults, cut_at_any_byte_gives_the_whole_frames_before_it_and_then_an_error, .timeout = 60)
{
    enum {
        FRAME = WIRE_FRAME_HEADER_BYTES + 20,
        FRAMES = 4
    };
    struct tp_frame frame;
    uint8_t payload[20];
    struct test_pair p;

    test_fill(payload, sizeof(payload), 6);
    for (uint64_t cut = 0; cut <= FRAME * FRAMES; cut++) {
        enum gp_status status = GP_OK;
        uint32_t whole = 0, sent = 0;

        open_with((struct tp_loop_faults){.cut = true, .cut_after = cut}, &p);
        for (; sent < FRAMES && status == GP_OK; sent++)
            status = test_send(p.client, sent, payload, sizeof(payload));
        cr_assert_eq(status == GP_OK, cut == FRAME * FRAMES, "cut at %d", (int)cut);
        while ((status = tp_recv_frame(p.server, &frame, test_soon())) == GP_OK) {
            cr_assert_eq(test_tag(&frame), whole);
            cr_assert(test_is_filled(frame.payload, sizeof(payload), 6));
            whole++;
        }
        cr_assert_eq(status, GP_ERR_IO, "cut at %d", (int)cut);
        cr_assert_eq(whole, cut / FRAME, "cut at %d", (int)cut);
        test_pair_close(&p);
    }
}

Test(loop_faults, delayed_frames_arrive_no_earlier_and_in_order, .timeout = 60)
{
    uint64_t delay = 3 * GP_NS_PER_MS, start;
    struct tp_frame frame;
    struct test_pair p;

    open_with((struct tp_loop_faults){.delay_ns = delay}, &p);
    start = gp_now_ns();
    for (uint32_t tag = 0; tag < 3; tag++)
        cr_assert_eq(test_send(p.client, tag, "abc", 3), GP_OK);
    cr_assert_eq(tp_recv_frame(p.server, &frame, TP_NOW), GP_ERR_AGAIN);
    for (uint32_t tag = 0; tag < 3; tag++) {
        cr_assert_eq(tp_recv_frame(p.server, &frame, test_soon()), GP_OK);
        cr_assert_eq(test_tag(&frame), tag);
    }
    cr_assert_geq(gp_now_ns() - start, delay);
    test_pair_close(&p);
}

Test(loop_faults, payload_cut_in_the_middle_says_how_much_came, .timeout = 60)
{
    uint8_t payload[1000], got[1000];
    struct tp_frame frame;
    struct test_pair p;
    size_t n = 0;

    test_fill(payload, sizeof(payload), 8);
    open_with((struct tp_loop_faults){.cut = true, .cut_after = 32 + 700}, &p);
    cr_assert_neq(test_send(p.client, 1, payload, sizeof(payload)), GP_OK);
    cr_assert_eq(tp_recv_header(p.server, &frame, test_soon()), GP_OK);
    cr_assert_eq(tp_recv_payload(p.server, got, 1000, test_soon(), &n), GP_ERR_IO);
    cr_assert_eq(n, 700);
    cr_assert(test_is_filled(got, 700, 8));
    cr_assert_eq(tp_recv_header(p.server, &frame, test_soon()), GP_ERR_IO);
    test_pair_close(&p);
}
