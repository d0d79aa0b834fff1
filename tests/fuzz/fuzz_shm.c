/* tests/fuzz/fuzz_shm.c -- what a hostile peer may write into shared memory, at any moment
 *
 * Input: rows of 10 bytes: what to do, where, a value. In between the lane receives and sends. It
 * must not read or write outside of its ring, nor take a frame that the ring does not hold.
 */
#include "tests/fuzz/fuzz.h"

#include "protocol/base/log.h"
#include "protocol/wire/frame.h"
#include "tests/support/shm_raw.h"
#include "transport/transport.h"

#include <pthread.h>
#include <stdlib.h>

#define PAYLOAD_MAX 100000

enum {
    DO_COUNT,  /* write a count or a word */
    DO_STEP,   /* move a count a little: likely ones */
    DO_BYTES,  /* write rubbish into the ring */
    DO_FRAME,  /* write a header into the ring, and count it */
    DO_BELL,   /* ring, or send what no bell is */
    DO_RECV,   /* let the lane receive */
    DO_HEADER, /* a header and some of its payload */
    DO_SEND,   /* let the lane send */
    DO_SPIN,
    DO_KINDS,
};

static struct tp_ring_shared *
ring_of(const struct shm_raw *raw, unsigned which)
{
    struct tp_shm_head *head = (struct tp_shm_head *)raw->memory;

    return which % 2 == 0 ? &head->to_server : &head->to_client;
}

static void
count_write(const struct shm_raw *raw, uint8_t where, uint64_t value, bool step)
{
    struct tp_ring_shared *ring = ring_of(raw, where);

    switch (where / 2 % 5) {
    case 0:
        atomic_store(&ring->tail, step ? atomic_load(&ring->tail) + value % 70000 : value);
        break;
    case 1:
        atomic_store(&ring->head, step ? atomic_load(&ring->head) + value % 70000 : value);
        break;
    case 2:
        atomic_store(&ring->want_data, (uint32_t)value);
        break;
    case 3:
        atomic_store(&ring->want_room, (uint32_t)value);
        break;
    default:
        atomic_store(&ring->ended, (uint32_t)(value & value >> 1 & 1));
        break;
    }
}

static void
frame_write(const struct shm_raw *raw, uint64_t value)
{
    struct wire_frame_header h = {
        .kind = WIRE_FRAME_DATA, .payload_bytes = (uint32_t)(value % 120000), .tag = 1};
    struct tp_ring_shared *ring = ring_of(raw, 0);
    uint64_t at = atomic_load(&ring->tail) & (TP_SHM_RING_BYTES - 1);

    if (at + WIRE_FRAME_HEADER_BYTES > TP_SHM_RING_BYTES)
        return;
    wire_frame_encode(&h, raw->memory + TP_SHM_HEAD_BYTES + at);
    atomic_store(&ring->tail, atomic_load(&ring->tail) + WIRE_FRAME_HEADER_BYTES +
                                  (value >> 32) % 2 * h.payload_bytes);
}

static void
receive(struct tp_lane *lane, bool by_header)
{
    static uint8_t memory[PAYLOAD_MAX];
    struct tp_frame frame = {0};

    if (by_header) {
        if (tp_recv_header(lane, &frame, TP_NOW) == GP_OK) {
            const void *here;
            size_t n;

            MUST(frame.payload_bytes <= PAYLOAD_MAX);
            here = tp_peek_payload(lane, PAYLOAD_MAX, &n);
            if (here != NULL) {
                MUST(n > 0 && n <= tp_payload_left(lane));
                memcpy(memory, here, n);
                tp_skip_payload(lane, n);
            }
            if (tp_payload_left(lane) >= frame.payload_bytes / 2)
                (void)!tp_recv_payload(lane, memory, frame.payload_bytes / 2, TP_NOW, NULL);
        }
    } else if (tp_recv_frame(lane, &frame, TP_NOW) == GP_OK) {
        MUST(frame.payload_bytes <= PAYLOAD_MAX);
        if (frame.payload_bytes > 0)
            memcpy(memory, frame.payload, frame.payload_bytes);
    }
}

static void
step(const struct shm_raw *raw, struct tp_lane *lane, const uint8_t *row)
{
    static uint8_t payload[300000];
    struct iovec iov = {payload, 0};
    uint64_t value;

    memcpy(&value, row + 2, sizeof(value));
    switch (row[0] % DO_KINDS) {
    case DO_COUNT:
    case DO_STEP:
        count_write(raw, row[1], value, row[0] % DO_KINDS == DO_STEP);
        break;
    case DO_BYTES:
        memset(raw->memory + TP_SHM_HEAD_BYTES + value % (TP_SHM_RING_BYTES - 256), row[1], 256);
        break;
    case DO_FRAME:
        frame_write(raw, value);
        break;
    case DO_BELL:
        (void)!send(row[1] % 2 ? raw->fd : raw->room_fd, row, row[1] % 10,
                    MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    case DO_RECV:
    case DO_HEADER:
        receive(lane, row[0] % DO_KINDS == DO_HEADER);
        break;
    case DO_SEND:
        iov.iov_len = value % sizeof(payload);
        (void)!tp_send_by(lane, &iov, 1, TP_NOW);
        break;
    default:
        tp_set_spin(lane, row[1] % 2); /* the next receive looks before it gives up */
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tp_opts opts = {.framing = &wire_framing, .max_payload_bytes = PAYLOAD_MAX};
    struct tp_lane *lane;
    struct shm_raw raw;
    int fds[2];

    gp_log_set_level(GP_LOG_ERROR);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    MUST(shm_raw_hello(fds[0]));
    MUST(tp_adopt("shm", fds[1], TP_SERVER, &opts, &lane) == GP_OK);
    MUST(shm_raw_take(fds[0], &raw));
    for (; size >= 10; data += 10, size -= 10)
        step(&raw, lane, data);
    receive(lane, false);
    tp_close(lane);
    shm_raw_close(&raw);
    return 0;
}
