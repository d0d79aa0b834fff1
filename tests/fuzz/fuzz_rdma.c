/* tests/fuzz/fuzz_rdma.c -- what a hostile peer may say to an RDMA lane, and write into its ring
 *
 * Input: rows of 12 bytes: what to do, which way, a value. The device is played here: what the lane
 * has it do must stay within the memory that it was told of, whatever messages, credits and pieces
 * come; so must what the lane counts. Words inside TLS are whatever follows a row that says so.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/support/played_device.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "transport/rdma/rdma_priv.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define RING      TP_RDMA_RING_MIN
#define PEER_RING TP_RDMA_RING_MIN
#define PEER_AT   0x7000000000000000ull
#define BULK      (600u << 10)
#define ROW       12u

enum {
    DO_MESSAGE, /* any */
    DO_BYTES,   /* a likely one: so many bytes */
    DO_PIECE,   /* a likely one: a piece to be read */
    DO_CREDIT,  /* any */
    DO_TAKEN,   /* a likely one */
    DO_RECV,
    DO_DIRECT,
    DO_SEND,
    DO_ARM,
    DO_FAIL, /* what the device is given next fails */
    DO_WORDS,
    DO_SMALL, /* a small message in memory, likely or spoilt, with or without its completion */
    DO_MATCH, /* the completion of one that was found there */
    DO_KINDS,
};

static struct {
    struct ibv_context context;
    struct ibv_qp qp[3]; /* out, in, rail */
    struct ibv_comp_channel channel[3];
    struct played_queue sent[3], came[2];
    struct ibv_mr key;
    bool fails;
    /* What it may write to, beside what is listed as kept. */
    uint8_t *bounce, *staging;
} device;

static uint8_t bulk[BULK], plain[BULK]; /* kept, and not */
static struct tp_rdma lane;
static struct tp_rdma_rail rail;

/* -- the device ---------------------------------------------------------------------------------
 */

static void
complete(struct played_queue *q, struct ibv_wc wc)
{
    if (played_complete(q, wc))
        played_arrive(q, 1);
}

static bool
within(uint64_t at, uint64_t bytes, const void *base, uint64_t room)
{
    return at >= (uintptr_t)base && bytes <= room && at - (uintptr_t)base <= room - bytes;
}

static int
post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    unsigned which = (unsigned)(qp - device.qp);
    struct ibv_wc wc = {.wr_id = wr->wr_id,
                        .status = device.fails ? IBV_WC_RETRY_EXC_ERR : IBV_WC_SUCCESS};
    uint64_t bytes = wr->num_sge > 0 ? wr->sg_list->length : 0;
    uint64_t at = bytes > 0 ? wr->sg_list->addr : 0;

    (void)bad;
    MUST(wr->next == NULL);
    if (wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM) {
        MUST(within(at, bytes, device.staging, RING) || bytes == 0);
        MUST(wr->wr.rdma.remote_addr >= PEER_AT &&
             wr->wr.rdma.remote_addr + bytes <= PEER_AT + PEER_RING);
    } else if (wr->opcode == IBV_WR_RDMA_READ && bytes > 0) {
        MUST(within(at, bytes, device.bounce, TP_RDMA_BOUNCE_BYTES) ||
             within(at, bytes, bulk, BULK));
        memset((void *)(uintptr_t)at, 0x5a, bytes);
    }
    if (device.fails || (wr->send_flags & IBV_SEND_SIGNALED) != 0)
        complete(&device.sent[which], wc);
    device.fails = false;
    return 0;
}

static int
post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    (void)qp;
    (void)wr;
    (void)bad;
    return 0;
}

static int
modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    (void)qp;
    (void)attr;
    (void)mask;
    return 0;
}

static const char *
wc_status_str(enum ibv_wc_status status)
{
    (void)status;
    return "a failure";
}

static const struct tp_verbs verbs = {
    .modify_qp = modify_qp, .get_cq_event = played_get_cq_event, .wc_status_str = wc_status_str};

static void *
key_add(void *user, void *base, size_t bytes, bool peer)
{
    (void)user;
    (void)peer;
    MUST(within((uintptr_t)base, bytes, bulk, BULK));
    return &device.key;
}

static void *
key_add_device(void *user, const struct tp_device_memory *memory, void *base, size_t bytes)
{
    (void)memory;
    return key_add(user, base, bytes, true);
}

static void
key_remove(void *user, void *key)
{
    (void)user;
    (void)key;
}

static const struct tp_cache_ops keys = {
    .add = key_add, .add_device = key_add_device, .remove = key_remove};

/* -- the lane -----------------------------------------------------------------------------------
 */

static void
pair_make(struct tp_rdma_pair *pair, unsigned which)
{
    device.qp[which].context = &device.context;
    device.channel[which].fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    played_queue_make(&device.sent[which], &device.context);
    pair->channel = &device.channel[which];
    pair->qp = &device.qp[which];
    pair->sent = pair->came = &device.sent[which].cq;
    if (which == 2)
        return;
    played_queue_make(&device.came[which], &device.context);
    pair->came = &device.came[which].cq;
}

static void
lane_make(bool rails, bool as_device, bool small, int fd)
{
    static const struct tp_device_memory memory;

    memset(&device, 0, sizeof(device));
    memset(&lane, 0, sizeof(lane));
    memset(&rail, 0, sizeof(rail));
    device.context.ops.poll_cq = played_poll_cq;
    device.context.ops.post_send = post_send;
    device.context.ops.post_recv = post_recv;
    device.context.ops.req_notify_cq = played_req_notify_cq;
    lane.verbs = &verbs;
    lane.control_fd = fd;
    pair_make(&lane.out.pair, 0);
    pair_make(&lane.in.pair, 1);
    lane.in.ring = malloc(RING);
    lane.in.bounce = device.bounce = malloc(TP_RDMA_BOUNCE_BYTES);
    lane.out.staging = device.staging = malloc(RING);
    MUST(lane.in.ring != NULL && device.bounce != NULL && device.staging != NULL);
    memset(lane.in.ring, 0, RING);
    lane.in.mr = lane.in.bounce_mr = lane.out.mr = &device.key;
    lane.in.ring_bytes = lane.out.staging_bytes = RING;
    lane.in.reads_max = 2;
    lane.out.ring_address = PEER_AT;
    lane.out.ring_bytes = PEER_RING;
    lane.out.messages = TP_RDMA_MESSAGES_MIN;
    lane.in.seeks = lane.out.seals = small;
    lane.in.key = lane.out.key = tp_rdma_key_make(1);
    tp_cache_init(&lane.cache, &keys, NULL, 1u << 30);
    if (rails) {
        pair_make(&rail.pair, 2);
        rail.reads_max = 1;
        tp_cache_init(&rail.cache, &keys, NULL, 1u << 30);
        lane.rails = &rail;
        lane.rail_count = 1;
    }
    if (as_device)
        tp_memory_keep_device(bulk, BULK, &memory);
    else
        tp_memory_keep(bulk, BULK, TP_KEPT_OWN);
}

static void
lane_end(void)
{
    tp_rdma_out_take_back(&lane);
    tp_memory_forget(bulk, BULK);
    tp_cache_put(&lane.cache, &lane.out.straight.hold);
    tp_cache_fini(&lane.cache);
    if (lane.rail_count > 0) {
        tp_cache_put(&rail.cache, &rail.hold);
        tp_cache_fini(&rail.cache);
        close(device.channel[2].fd);
    }
    close(device.channel[0].fd);
    close(device.channel[1].fd);
    free(lane.in.ring);
    free(device.bounce);
    free(device.staging);
}

/* -- the peer -----------------------------------------------------------------------------------
 */

static void
message(uint32_t word, enum ibv_wc_status status, enum ibv_wc_opcode opcode)
{
    complete(&device.came[1], (struct ibv_wc){.status = status,
                                              .opcode = opcode,
                                              .wc_flags = IBV_WC_WITH_IMM,
                                              .imm_data = htonl(word)});
}

/* Where the next message's bytes would lie, if it keeps to the rules. */
static void
into_ring(const uint8_t *bytes, size_t n, uint64_t ahead)
{
    for (size_t i = 0; i < n; i++)
        lane.in.ring[(lane.in.tail + ahead + i) % RING] = bytes[i];
}

static void
piece(uint8_t how, uint64_t value)
{
    struct tp_rdma_piece p = {.address = value << 12,
                              .bytes = value % (2 * BULK),
                              .key = (uint32_t)value,
                              .by = how & 1 & lane.rail_count};
    uint8_t bytes[TP_RDMA_PIECE_MOST];
    uint32_t all = tp_rdma_piece_bytes(lane.rail_count), first = all;

    tp_rdma_piece_encode(&p, lane.rail_count, bytes);
    if ((how & 2) != 0)
        first = how % all;
    into_ring(bytes, all, 0);
    if (first > 0)
        message(first | TP_RDMA_STRAIGHT, IBV_WC_SUCCESS, IBV_WC_RECV_RDMA_WITH_IMM);
    if (first < all)
        message((all - first) | TP_RDMA_STRAIGHT, IBV_WC_SUCCESS, IBV_WC_RECV_RDMA_WITH_IMM);
}

/* Right, or with another key, place or byte, or torn, or somewhere else. */
static void
small(uint8_t how, uint64_t value)
{
    uint32_t bytes = 1 + value % (TP_RDMA_SMALL_MOST + 8), all = TP_RDMA_HEAD_BYTES + bytes;
    struct tp_rdma_key key = tp_rdma_key_make(1 + (how >> 6 & 1));
    uint8_t m[TP_RDMA_HEAD_BYTES + TP_RDMA_SMALL_MOST + 8];
    uint64_t at = lane.in.tail;

    if ((how & 1) != 0)
        at -= RING; /* of an earlier lap */
    memset(m, (int)(value >> 32 & 0xff), sizeof(m));
    tp_rdma_small_seal(&key, at, m, bytes);
    if ((how & 2) != 0)
        m[(value >> 16) % all] ^= 1;
    if ((how & 4) != 0)
        all = (uint32_t)(value >> 24) % all; /* torn */
    into_ring(m, all, (how & 8) != 0 ? value >> 40 : 0);
    if ((how & 16) != 0)
        message(all | TP_RDMA_SEALED, IBV_WC_SUCCESS, IBV_WC_RECV_RDMA_WITH_IMM);
}

static void
match(void)
{
    const struct tp_rdma_in *in = &lane.in;
    uint64_t end = in->ends[in->completed % TP_RDMA_MESSAGES];

    if (in->completed < in->came)
        message((uint32_t)(end - in->sure) | TP_RDMA_SEALED, IBV_WC_SUCCESS,
                IBV_WC_RECV_RDMA_WITH_IMM);
}

static void
words(const uint8_t *data, uint32_t size)
{
    struct tp_rdma_rail_offer rails[TP_RDMA_RAILS];
    uint8_t again[TP_RDMA_RAILS * TP_RDMA_RAIL_BYTES];
    struct tp_rdma_offer offer;
    struct tp_rdma_piece p;
    size_t count;

    if (tp_rdma_rails_decode(data, size, rails, &count) == GP_OK) {
        MUST(count <= TP_RDMA_RAILS && count * TP_RDMA_RAIL_BYTES == size);
        tp_rdma_rails_encode(rails, count, again);
        MUST(memcmp(again, data, size) == 0);
    }
    if (tp_rdma_offer_decode(data, size, &offer) == GP_OK)
        MUST(offer.ring_bytes >= TP_RDMA_RING_MIN && offer.messages >= TP_RDMA_MESSAGES_MIN);
    if (size >= TP_RDMA_PIECE_MOST && tp_rdma_piece_decode(data, TP_RDMA_RAILS, &p) == GP_OK)
        MUST(p.bytes > 0 && p.bytes <= TP_RDMA_PIECE_MAX && p.by >> TP_RDMA_RAILS == 0);
}

/* -- go -----------------------------------------------------------------------------------------
 */

static void
receive(uint8_t how, uint64_t value, bool direct)
{
    uint8_t *to = (how & 1) != 0 ? bulk : plain;
    struct iovec iov = {to + value % (BULK / 2), (value >> 20) % (BULK / 2)};
    struct iovec both[2] = {iov, {plain, 4096}};
    size_t got = 0, others = 0;
    enum gp_status status;

    if (!direct) {
        status = tp_rdma_in_read(&lane, both, 2, &got);
        MUST(status != GP_OK || (got > 0 && got <= iov.iov_len + 4096));
        return;
    }
    iov.iov_base = bulk + value % (BULK / 2);
    status = tp_rdma_in_read_direct(&lane, &iov, &got, &others);
    MUST(got + others <= iov.iov_len && (got == 0 || others == 0) && (status == GP_OK || got == 0));
}

static void
check(void)
{
    const struct tp_rdma_in *in = &lane.in;
    const struct tp_rdma_out *out = &lane.out;

    MUST(in->head <= in->tail && in->tail - in->head <= RING);
    MUST(in->came - in->taken <= TP_RDMA_MESSAGES && in->told <= in->head);
    MUST(in->taken <= in->came && in->told <= in->sure && in->sure <= in->tail);
    MUST(in->completed <= in->came && in->came - in->completed <= TP_RDMA_AHEAD);
    MUST(in->head == in->tail || in->taken < in->came);
    MUST(out->read <= out->at && out->at - out->read <= PEER_RING);
    MUST(out->done <= out->at && out->taken <= out->posted && out->completed <= out->posted);
    MUST(out->posted - gp_min_u64(out->taken, out->completed) <= out->messages);
}

static void
step(const uint8_t *row)
{
    struct iovec iov;
    uint64_t value = 0;
    size_t put;

    memcpy(&value, row + 2, 8);
    switch (row[0] % DO_KINDS) {
    case DO_MESSAGE:
        into_ring(row, ROW, value % RING);
        message((uint32_t)value, row[1] > 250 ? IBV_WC_WR_FLUSH_ERR : IBV_WC_SUCCESS,
                row[1] % 8 == 7 ? IBV_WC_RECV : IBV_WC_RECV_RDMA_WITH_IMM);
        break;
    case DO_BYTES:
        message((uint32_t)(value % 9000), IBV_WC_SUCCESS, IBV_WC_RECV_RDMA_WITH_IMM);
        break;
    case DO_PIECE:
        piece(row[1], value);
        break;
    case DO_CREDIT:
    case DO_TAKEN:
        value = row[0] % DO_KINDS == DO_CREDIT
                    ? value
                    : lane.out.read + value % (lane.out.at - lane.out.read + 1);
        complete(&device.came[0], (struct ibv_wc){.status = IBV_WC_SUCCESS,
                                                  .opcode = IBV_WC_RECV,
                                                  .wc_flags = row[1] != 7 ? IBV_WC_WITH_IMM : 0,
                                                  .imm_data = htonl((uint32_t)value)});
        break;
    case DO_RECV:
    case DO_DIRECT:
        receive(row[1], value, row[0] % DO_KINDS == DO_DIRECT);
        break;
    case DO_SEND:
        iov.iov_base = ((row[1] & 1) != 0 ? bulk : plain) + value % (BULK / 2);
        iov.iov_len = (value >> 20) % (BULK / 2) + 1;
        (void)tp_rdma_out_write(&lane, &iov, 1, &put);
        break;
    case DO_SMALL:
        small(row[1], value);
        break;
    case DO_MATCH:
        match();
        break;
    case DO_ARM:
        (void)tp_rdma_in_arm(&lane);
        break;
    default:
        device.fails = row[0] % DO_KINDS == DO_FAIL;
        break;
    }
    check();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];

    if (size == 0)
        return 0;
    gp_log_set_level(GP_LOG_ERROR);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    lane_make((data[0] & 1) != 0, (data[0] & 2) != 0, (data[0] & 4) == 0, fds[0]);
    for (data++, size--; size >= ROW; data += ROW, size -= ROW) {
        if (data[0] % DO_KINDS == DO_WORDS) {
            words(data + 1, (uint32_t)size - 1);
            break;
        }
        step(data);
    }
    lane_end();
    close(fds[0]);
    close(fds[1]);
    return 0;
}
