/* transport/rdma/offer.h -- what the two ends of an RDMA lane tell each other inside TLS
 *
 * Frames of their own, little endian, 16 bytes of header: u8[6] "GPrdma", u16 version, u32 kind,
 * u32 payload_bytes. The client makes an offer, the server answers with its own or a refusal (its
 * reason as text), the client says that it is ready. Each offer says where its sender's memory lies
 * and which queue pairs it has: one for each direction. Where both have further ports the client
 * then says which (rails), and the server with which of its own each goes together. Pure.
 */
#ifndef TP_RDMA_OFFER_H
#define TP_RDMA_OFFER_H

#include "protocol/base/framing.h"
#include "protocol/base/status.h"

#include <stddef.h>
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
/* Ports beside the one that the rings go by; bulk is read by them too. */
#define TP_RDMA_RAILS 7u

enum tp_rdma_kind {
    TP_RDMA_OFFER = 1,
    TP_RDMA_READY = 2,
    TP_RDMA_REFUSAL = 3,
    TP_RDMA_RAIL_LIST = 4,
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
    /* How many further ports its sender has; 0 also of one that knows of none. */
    uint32_t rails;
    /* What small messages to its sender are sealed with (small.h), where both offer one; 0 of one
     * that looks for none. */
    uint64_t key_word;
};

/* One of a list of rails: a port, its queue pair, and which of the client's list it is. */
#define TP_RDMA_RAIL_BYTES 32u

struct tp_rdma_rail_offer {
    uint8_t place; /* below TP_RDMA_RAILS */
    uint8_t layer, mtu;
    uint8_t reads; /* that its device serves at once */
    uint16_t lid;
    uint8_t gid[16];
    uint32_t qpn, psn;
};

/* Bytes of the row that do not come through the ring: the peer reads them where they lie. What
 * says so stands in their place, and is taken from the ring (a credit) when they have been read. */
#define TP_RDMA_PIECE_BYTES 24u
/* And what opens it by each rail of the lane. */
#define TP_RDMA_PIECE_MOST (TP_RDMA_PIECE_BYTES + 4 * TP_RDMA_RAILS)
#define TP_RDMA_PIECE_MAX  (1u << 30)

struct tp_rdma_piece {
    uint64_t address;
    uint64_t bytes;
    uint32_t key;
    uint32_t by; /* bit i: it can be read by rail i too, with keys[i] */
    uint32_t keys[TP_RDMA_RAILS];
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

/* Of count rails, and GP_ERR_PROTOCOL for a list that no peer of ours would send: it is at most
 * TP_RDMA_RAILS long, and no place is there twice. */
void tp_rdma_rails_encode(const struct tp_rdma_rail_offer *rails, size_t count, uint8_t *out);
GP_CHECK enum gp_status tp_rdma_rails_decode(const uint8_t *in, uint32_t bytes,
                                             struct tp_rdma_rail_offer *rails, size_t *count_p);

/* On a lane of so many rails. */
static inline uint32_t
tp_rdma_piece_bytes(unsigned rails)
{
    return TP_RDMA_PIECE_BYTES + 4 * rails;
}

void tp_rdma_piece_encode(const struct tp_rdma_piece *piece, unsigned rails,
                          uint8_t out[TP_RDMA_PIECE_MOST]);
/* GP_ERR_PROTOCOL for what no peer of ours would say. */
GP_CHECK enum gp_status tp_rdma_piece_decode(const uint8_t *in, unsigned rails,
                                             struct tp_rdma_piece *piece);

/* -- the four bytes that go with each message ---------------------------------------------------
 */

/* Nothing follows in this direction. Else: how many bytes were written. */
#define TP_RDMA_END 0x80000000u
/* With how many bytes were written: they are (part of) a struct tp_rdma_piece. */
#define TP_RDMA_STRAIGHT 0x40000000u
/* With how many bytes were written: they are a head and a small message (small.h). */
#define TP_RDMA_SEALED 0x20000000u

/* A count whose low half is low and that is not before seen. */
static inline uint64_t
tp_rdma_count(uint64_t seen, uint32_t low)
{
    return seen + (uint32_t)(low - (uint32_t)seen);
}

#endif
