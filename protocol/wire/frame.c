/* protocol/wire/frame.c */
#include "protocol/wire/frame.h"

#include "protocol/base/util.h"

static void
put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

static void
put_u64(uint8_t *out, uint64_t v)
{
    put_u32(out, (uint32_t)v);
    put_u32(out + 4, (uint32_t)(v >> 32));
}

static uint32_t
get_u32(const uint8_t *in)
{
    return in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static uint64_t
get_u64(const uint8_t *in)
{
    return get_u32(in) | (uint64_t)get_u32(in + 4) << 32;
}

void
wire_frame_encode(const struct wire_frame_header *header, uint8_t out[WIRE_FRAME_HEADER_BYTES])
{
    put_u32(out, WIRE_FRAME_MAGIC);
    put_u32(out + 4, header->payload_bytes);
    out[8] = header->kind;
    out[9] = header->flags;
    out[10] = 0;
    out[11] = 0;
    put_u32(out + 12, header->tag);
    put_u64(out + 16, header->seq);
    put_u64(out + 24, header->ack);
}

enum gp_status
wire_frame_decode(const uint8_t in[WIRE_FRAME_HEADER_BYTES], uint32_t max_payload_bytes,
                  struct wire_frame_header *header_p)
{
    struct wire_frame_header h = {
        .payload_bytes = get_u32(in + 4),
        .kind = in[8],
        .flags = in[9],
        .tag = get_u32(in + 12),
        .seq = get_u64(in + 16),
        .ack = get_u64(in + 24),
    };

    if (get_u32(in) != WIRE_FRAME_MAGIC || in[10] != 0 || in[11] != 0)
        return GP_ERR_PROTOCOL;
    if (h.kind < WIRE_FRAME_HELLO || h.kind >= WIRE_FRAME_KIND_END)
        return GP_ERR_PROTOCOL;
    if (h.payload_bytes > max_payload_bytes || h.payload_bytes > WIRE_FRAME_PAYLOAD_MAX)
        return GP_ERR_LIMIT;

    *header_p = h;
    return GP_OK;
}

static enum gp_status
measure(const uint8_t *header, uint32_t max_payload_bytes, uint32_t *payload_bytes_p)
{
    struct wire_frame_header h;
    enum gp_status status = wire_frame_decode(header, max_payload_bytes, &h);

    if (status == GP_OK)
        *payload_bytes_p = h.payload_bytes;
    return status;
}

static uint64_t
acknowledged(const uint8_t *header)
{
    return get_u64(header + 24);
}

static bool
is_last(const uint8_t *header)
{
    return header[8] == WIRE_FRAME_BYE;
}

static void
make_ack(uint8_t *header, uint64_t received_bytes)
{
    struct wire_frame_header h = {.kind = WIRE_FRAME_ACK, .ack = received_bytes};

    wire_frame_encode(&h, header);
}

const struct gp_framing wire_framing = {
    .header_bytes = WIRE_FRAME_HEADER_BYTES,
    .measure = measure,
    .acknowledged = acknowledged,
    .is_last = is_last,
    .make_ack = make_ack,
};

const char *
wire_frame_kind_text(unsigned kind)
{
    static const char *const texts[] = {
        [WIRE_FRAME_HELLO] = "HELLO",   [WIRE_FRAME_CALLS] = "CALLS", [WIRE_FRAME_REPLY] = "REPLY",
        [WIRE_FRAME_NOTICE] = "NOTICE", [WIRE_FRAME_DATA] = "DATA",   [WIRE_FRAME_PING] = "PING",
        [WIRE_FRAME_PONG] = "PONG",     [WIRE_FRAME_BYE] = "BYE",     [WIRE_FRAME_ACK] = "ACK",
    };

    if (kind >= GP_ARRAY_LEN(texts) || texts[kind] == NULL)
        return "?";
    return texts[kind];
}
