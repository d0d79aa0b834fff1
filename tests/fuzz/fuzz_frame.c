/* tests/fuzz/fuzz_frame.c -- a peer's bytes, cut anyhow, through the frame reader
 *
 * Input: byte 0: most bytes a read gives, byte 1: how payloads are fetched, then the stream. What
 * comes out must be what the header format says of the input, frame by frame.
 */
#include "tests/fuzz/fuzz.h"

#include "protocol/base/log.h"
#include "protocol/wire/frame.h"
#include "transport/loop/loop.h"

#include <stdlib.h>
#include <string.h>

#define PAYLOAD_MAX 100000

/* The next frame by the lane: its payload must be the input's at that place. */
static enum gp_status
fetch(struct tp_lane *lane, unsigned way, const uint8_t *at, size_t left, uint8_t *memory)
{
    struct tp_frame frame = {0};
    enum gp_status status;
    size_t got = 0;

    if (way % 3 == 0) {
        status = tp_recv_frame(lane, &frame, GP_FOREVER);
        if (status == GP_OK && frame.payload_bytes > 0)
            memcpy(memory, frame.payload, frame.payload_bytes);
    } else {
        status = tp_recv_header(lane, &frame, GP_FOREVER);
        if (status == GP_OK)
            status =
                tp_recv_payload(lane, memory, frame.payload_bytes / (way % 3), GP_FOREVER, &got);
        if (way % 3 == 2)
            frame.payload_bytes /= 2; /* the rest is skipped by the next receive */
    }
    if (status != GP_OK)
        return status;
    MUST(left >= WIRE_FRAME_HEADER_BYTES + frame.payload_bytes);
    MUST(memcmp(frame.header, at, WIRE_FRAME_HEADER_BYTES) == 0);
    MUST(frame.payload_bytes == 0 ||
         memcmp(memory, at + WIRE_FRAME_HEADER_BYTES, frame.payload_bytes) == 0);
    return GP_OK;
}

/* What the format says of the next bytes. */
static enum gp_status
foretell(const uint8_t *at, size_t left, struct wire_frame_header *h)
{
    enum gp_status status;

    if (left == 0)
        return GP_ERR_CLOSED;
    if (left < WIRE_FRAME_HEADER_BYTES)
        return GP_ERR_IO;
    status = wire_frame_decode(at, PAYLOAD_MAX, h);
    if (status != GP_OK)
        return status;
    return left - WIRE_FRAME_HEADER_BYTES < h->payload_bytes ? GP_ERR_IO : GP_OK;
}

static void
compare(struct tp_lane *lane, unsigned way, const uint8_t *at, size_t left)
{
    static uint8_t memory[PAYLOAD_MAX];
    struct wire_frame_header h;
    enum gp_status told, got;

    do {
        told = foretell(at, left, &h);
        got = fetch(lane, way, at, left, memory);
        /* Half a payload may be here while the rest is not: the next receive finds out. */
        if (way % 3 == 2 && told == GP_ERR_IO && got == GP_OK)
            return;
        MUST(told == got);
        at += told == GP_OK ? WIRE_FRAME_HEADER_BYTES + h.payload_bytes : 0;
        left -= told == GP_OK ? WIRE_FRAME_HEADER_BYTES + h.payload_bytes : 0;
    } while (told == GP_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tp_opts opts = {.framing = &wire_framing, .max_payload_bytes = PAYLOAD_MAX};
    struct tp_loop_faults faults[2] = {{.window_bytes = 1u << 20}};
    struct tp_lane *peer, *lane;
    struct iovec iov;

    gp_log_set_level(GP_LOG_ERROR);
    if (size < 2)
        return 0;
    faults[0].read_max = data[0];
    iov = (struct iovec){(void *)(data + 2), size - 2};
    if (tp_loop_pair(&opts, faults, &peer, &lane) != GP_OK)
        return 0;
    MUST(tp_send(peer, &iov, 1) == GP_OK);
    tp_close(peer);
    compare(lane, data[1], data + 2, size - 2);
    tp_close(lane);
    return 0;
}
