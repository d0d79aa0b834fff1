/* transport/rdma/offer.h -- what the two ends of an RDMA lane tell each other inside TLS
 *
 * Frames of their own, little endian, 16 bytes of header: u8[6] "GPrdma", u16 version, u32 kind,
 * u32 payload_bytes. The client makes an offer, the server answers with its own or a refusal (its
 * reason as text), the client says that it is ready. Each offer says where its sender's memory lies
 * and which queue pairs it has: one for each direction. Pure.
 */
#ifndef TP_RDMA_OFFER_H
#define TP_RDMA_OFFER_H

#include "protocol/base/framing.h"
#include "protocol/base/status.h"

#include <stdint.h>

#define TP_RDMA_HEADER_BYTES 16u
#define TP_RDMA_OFFER_BYTES  72u
#define TP_RDMA_TEXT_MAX     255u

/* Of a ring: a power of two. */
#define TP_RDMA_RING_MIN (64u << 10)
#define TP_RDMA_RING_MAX (256u << 20)
/* Messages on their way in one direction. */
#define TP_RDMA_MESSAGES_MIN 16u
#define TP_RDMA_MESSAGES_MAX 16384u
/* Reads at once, of what both devices can. */
#define TP_RDMA_READS 4u

enum tp_rdma_kind {
    TP_RDMA_OFFER = 1,
    TP_RDMA_READY = 2,
    TP_RDMA_REFUSAL = 3,
};

/* As the verbs have it. */
enum {
    TP_RDMA_LAYER_INFINIBAND = 1,
    TP_RDMA_LAYER_ETHERNET = 2,
};

struct tp_rdma_offer {
    uint8_t layer; /* TP_RDMA_LAYER_ */
    uint8_t mtu;   /* enum ibv_mtu, 1..5 */
    uint16_t lid;  /* InfiniBand only */
    uint8_t gid[16];
    /* The queue pair that its sender sends its bytes on, and that it receives the peer's on. */
    uint32_t out_qpn, out_psn;
    uint32_t in_qpn, in_psn;
    /* Where the peer writes its bytes. */
    uint64_t ring_address;
    uint32_t ring_key;
    uint32_t ring_bytes;
    uint32_t messages;
    /* How many reads by the peer its device serves at once; 0: bulk goes through the ring too. */
    uint32_t reads;
};

/* Bytes of the row that do not come through the ring: the peer reads them where they lie. What
 * says so stands in their place, and is taken from the ring (a credit) when they have been read. */
#define TP_RDMA_PIECE_BYTES 24u
#define TP_RDMA_PIECE_MAX   (1u << 30)

struct tp_rdma_piece {
    uint64_t address;
    uint64_t bytes;
    uint32_t key;
};

extern const struct gp_framing tp_rdma_framing;

void tp_rdma_header_encode(enum tp_rdma_kind kind, uint32_t payload_bytes,
                           uint8_t out[TP_RDMA_HEADER_BYTES]);
/* Of a header that tp_rdma_framing measured. */
uint32_t tp_rdma_header_kind(const uint8_t *header);

void tp_rdma_offer_encode(const struct tp_rdma_offer *offer, uint8_t out[TP_RDMA_OFFER_BYTES]);
/* GP_ERR_PROTOCOL for what no peer of ours would offer; *offer is then undefined. */
GP_CHECK enum gp_status tp_rdma_offer_decode(const uint8_t *in, uint32_t bytes,
                                             struct tp_rdma_offer *offer);

void tp_rdma_piece_encode(const struct tp_rdma_piece *piece, uint8_t out[TP_RDMA_PIECE_BYTES]);
/* GP_ERR_PROTOCOL for what no peer of ours would say. */
GP_CHECK enum gp_status tp_rdma_piece_decode(const uint8_t in[TP_RDMA_PIECE_BYTES],
                                             struct tp_rdma_piece *piece);

/* -- the four bytes that go with each message ---------------------------------------------------
 */

/* Nothing follows in this direction. Else: how many bytes were written. */
#define TP_RDMA_END 0x80000000u
/* With how many bytes were written: they are (part of) a struct tp_rdma_piece. */
#define TP_RDMA_STRAIGHT 0x40000000u

/* A count whose low half is low and that is not before seen. */
static inline uint64_t
tp_rdma_count(uint64_t seen, uint32_t low)
{
    return seen + (uint32_t)(low - (uint32_t)seen);
}

#endif
