/* transport/rdma/offer.c */
#include "transport/rdma/offer.h"

#include <stdbool.h>
#include <string.h>

#define VERSION 1u
#define MAGIC   "GPrdma"

/* -- numbers ------------------------------------------------------------------------------------
 */

static void
put(uint8_t **at, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *(*at)++ = (uint8_t)(v >> (8 * i));
}

static uint64_t
get(const uint8_t **at, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++)
        v |= (uint64_t) * (*at)++ << (8 * i);
    return v;
}

/* -- frames -------------------------------------------------------------------------------------
 */

void
tp_rdma_header_encode(enum tp_rdma_kind kind, uint32_t payload_bytes,
                      uint8_t out[TP_RDMA_HEADER_BYTES])
{
    memcpy(out, MAGIC, 6);
    out += 6;
    put(&out, VERSION, 2);
    put(&out, kind, 4);
    put(&out, payload_bytes, 4);
}

uint32_t
tp_rdma_header_kind(const uint8_t *header)
{
    const uint8_t *at = header + 8;

    return (uint32_t)get(&at, 4);
}

static enum gp_status
measure(const uint8_t *header, uint32_t max_payload_bytes, uint32_t *payload_bytes_p)
{
    const uint8_t *at = header + 6;
    uint32_t version, bytes;

    if (memcmp(header, MAGIC, 6) != 0)
        return GP_ERR_PROTOCOL;
    version = (uint32_t)get(&at, 2);
    (void)get(&at, 4);
    bytes = (uint32_t)get(&at, 4);
    if (version != VERSION)
        return GP_ERR_PROTOCOL;
    if (bytes > max_payload_bytes || bytes > TP_RDMA_TEXT_MAX)
        return GP_ERR_LIMIT;
    *payload_bytes_p = bytes;
    return GP_OK;
}

const struct gp_framing tp_rdma_framing = {
    .header_bytes = TP_RDMA_HEADER_BYTES,
    .measure = measure,
};

/* -- offers -------------------------------------------------------------------------------------
 */

void
tp_rdma_offer_encode(const struct tp_rdma_offer *offer, uint8_t out[TP_RDMA_OFFER_BYTES])
{
    memset(out, 0, TP_RDMA_OFFER_BYTES);
    put(&out, offer->layer, 1);
    put(&out, offer->mtu, 1);
    put(&out, offer->lid, 2);
    memcpy(out, offer->gid, sizeof(offer->gid));
    out += sizeof(offer->gid);
    put(&out, offer->out_qpn, 4);
    put(&out, offer->out_psn, 4);
    put(&out, offer->in_qpn, 4);
    put(&out, offer->in_psn, 4);
    put(&out, offer->ring_address, 8);
    put(&out, offer->ring_key, 4);
    put(&out, offer->ring_bytes, 4);
    put(&out, offer->messages, 4);
    put(&out, offer->reads, 4);
    put(&out, offer->rails, 4);
    put(&out, offer->key_word, 8);
}

static bool
is_24_bits(uint32_t v)
{
    return v >> 24 == 0;
}

static bool
plausible(const struct tp_rdma_offer *o)
{
    return (o->layer == TP_RDMA_LAYER_INFINIBAND || o->layer == TP_RDMA_LAYER_ETHERNET) &&
           o->mtu >= 1 && o->mtu <= 5 && is_24_bits(o->out_qpn) && is_24_bits(o->out_psn) &&
           is_24_bits(o->in_qpn) && is_24_bits(o->in_psn) && o->ring_bytes >= TP_RDMA_RING_MIN &&
           o->ring_bytes <= TP_RDMA_RING_MAX && (o->ring_bytes & (o->ring_bytes - 1)) == 0 &&
           o->ring_address <= UINT64_MAX - o->ring_bytes && o->messages >= TP_RDMA_MESSAGES_MIN &&
           o->messages <= TP_RDMA_MESSAGES_MAX;
}

enum gp_status
tp_rdma_offer_decode(const uint8_t *in, uint32_t bytes, struct tp_rdma_offer *offer)
{
    if (bytes != TP_RDMA_OFFER_BYTES)
        return GP_ERR_PROTOCOL;
    offer->layer = (uint8_t)get(&in, 1);
    offer->mtu = (uint8_t)get(&in, 1);
    offer->lid = (uint16_t)get(&in, 2);
    memcpy(offer->gid, in, sizeof(offer->gid));
    in += sizeof(offer->gid);
    offer->out_qpn = (uint32_t)get(&in, 4);
    offer->out_psn = (uint32_t)get(&in, 4);
    offer->in_qpn = (uint32_t)get(&in, 4);
    offer->in_psn = (uint32_t)get(&in, 4);
    offer->ring_address = get(&in, 8);
    offer->ring_key = (uint32_t)get(&in, 4);
    offer->ring_bytes = (uint32_t)get(&in, 4);
    offer->messages = (uint32_t)get(&in, 4);
    offer->reads = (uint32_t)get(&in, 4);
    offer->rails = (uint32_t)get(&in, 4);
    offer->key_word = get(&in, 8);
    return plausible(offer) ? GP_OK : GP_ERR_PROTOCOL;
}

/* -- rails --------------------------------------------------------------------------------------
 */

void
tp_rdma_rails_encode(const struct tp_rdma_rail_offer *rails, size_t count, uint8_t *out)
{
    for (; count > 0; count--, rails++) {
        put(&out, rails->place, 1);
        put(&out, rails->layer, 1);
        put(&out, rails->mtu, 1);
        put(&out, rails->reads, 1);
        put(&out, rails->lid, 2);
        put(&out, 0, 2);
        memcpy(out, rails->gid, sizeof(rails->gid));
        out += sizeof(rails->gid);
        put(&out, rails->qpn, 4);
        put(&out, rails->psn, 4);
    }
}

static bool
rail_plausible(const struct tp_rdma_rail_offer *rail)
{
    return rail->place < TP_RDMA_RAILS && rail->mtu >= 1 && rail->mtu <= 5 &&
           (rail->layer == TP_RDMA_LAYER_INFINIBAND || rail->layer == TP_RDMA_LAYER_ETHERNET) &&
           rail->reads >= 1 && is_24_bits(rail->qpn) && is_24_bits(rail->psn);
}

static enum gp_status
rail_decode(const uint8_t *in, struct tp_rdma_rail_offer *rail)
{
    uint64_t rest;

    rail->place = (uint8_t)get(&in, 1);
    rail->layer = (uint8_t)get(&in, 1);
    rail->mtu = (uint8_t)get(&in, 1);
    rail->reads = (uint8_t)get(&in, 1);
    rail->lid = (uint16_t)get(&in, 2);
    rest = get(&in, 2);
    memcpy(rail->gid, in, sizeof(rail->gid));
    in += sizeof(rail->gid);
    rail->qpn = (uint32_t)get(&in, 4);
    rail->psn = (uint32_t)get(&in, 4);
    return rest == 0 && rail_plausible(rail) ? GP_OK : GP_ERR_PROTOCOL;
}

enum gp_status
tp_rdma_rails_decode(const uint8_t *in, uint32_t bytes, struct tp_rdma_rail_offer *rails,
                     size_t *count_p)
{
    size_t count = bytes / TP_RDMA_RAIL_BYTES;
    unsigned seen = 0;

    if (bytes % TP_RDMA_RAIL_BYTES != 0 || count > TP_RDMA_RAILS)
        return GP_ERR_PROTOCOL;
    for (size_t i = 0; i < count; i++, in += TP_RDMA_RAIL_BYTES) {
        if (rail_decode(in, &rails[i]) != GP_OK || (seen >> rails[i].place & 1) != 0)
            return GP_ERR_PROTOCOL;
        seen |= 1u << rails[i].place;
    }
    *count_p = count;
    return GP_OK;
}

/* -- pieces -------------------------------------------------------------------------------------
 */

void
tp_rdma_piece_encode(const struct tp_rdma_piece *piece, unsigned rails,
                     uint8_t out[TP_RDMA_PIECE_MOST])
{
    put(&out, piece->address, 8);
    put(&out, piece->bytes, 8);
    put(&out, piece->key, 4);
    put(&out, piece->by, 4);
    for (unsigned i = 0; i < rails; i++)
        put(&out, piece->keys[i], 4);
}

enum gp_status
tp_rdma_piece_decode(const uint8_t *in, unsigned rails, struct tp_rdma_piece *piece)
{
    piece->address = get(&in, 8);
    piece->bytes = get(&in, 8);
    piece->key = (uint32_t)get(&in, 4);
    piece->by = (uint32_t)get(&in, 4);
    for (unsigned i = 0; i < rails; i++)
        piece->keys[i] = (uint32_t)get(&in, 4);
    return piece->bytes > 0 && piece->bytes <= TP_RDMA_PIECE_MAX &&
                   piece->address <= UINT64_MAX - piece->bytes && piece->by >> rails == 0
               ? GP_OK
               : GP_ERR_PROTOCOL;
}
