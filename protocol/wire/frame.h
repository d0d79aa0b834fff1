/* protocol/wire/frame.h -- the header in front of every frame
 *
 * A frame is WIRE_FRAME_HEADER_BYTES of header and payload_bytes of payload. All numbers are
 * little endian:
 *
 *   offset  0  u32  magic          "GPF1"
 *           4  u32  payload_bytes  0..the negotiated maximum, never above WIRE_FRAME_PAYLOAD_MAX
 *           8  u8   kind           enum wire_frame_kind
 *           9  u8   flags          WIRE_FRAME_*, by kind; an unknown bit is ignored
 *          10  u16  reserved       0
 *          12  u32  tag            by kind, see below
 *          16  u64  seq            number of this frame in its direction; 0: not numbered
 *          24  u64  ack            bytes of the other direction's frames that have arrived here,
 *                                  counted from the end of the opening; only with
 *                                  WIRE_FEATURE_RESUME, else 0
 *
 * The functions are pure and safe on hostile input.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include "protocol/base/framing.h"
#include "protocol/base/status.h"

#include <stdint.h>

#define WIRE_FRAME_MAGIC           0x31465047u /* "GPF1" */
#define WIRE_FRAME_HEADER_BYTES    32u
#define WIRE_FRAME_PAYLOAD_MAX     (64u << 20) /* no negotiation goes above it */
#define WIRE_FRAME_PAYLOAD_DEFAULT (16u << 20)
#define WIRE_FRAME_PAYLOAD_MIN     (64u << 10) /* every peer takes at least this */

enum wire_frame_kind {
    WIRE_FRAME_HELLO = 1, /* control messages of protocol/wire/control.h; tag: wire_control_kind */
    WIRE_FRAME_CALLS,     /* a batch of calls; tag: how many */
    WIRE_FRAME_REPLY,     /* answers a call that waits; tag: which (the caller's choice) */
    WIRE_FRAME_NOTICE,    /* the server speaks unasked: completion, printf, callback; tag: which */
    WIRE_FRAME_DATA,      /* a piece of a bulk copy; tag: which copy */
    WIRE_FRAME_PING,      /* answered at once by PONG with the same tag and payload */
    WIRE_FRAME_PONG,
    WIRE_FRAME_BYE, /* the last frame of a direction; tag: enum wire_control_code */
    WIRE_FRAME_ACK, /* without payload: only its ack counts */
    WIRE_FRAME_KIND_END,
};

enum {
    WIRE_FRAME_MORE = 1u << 0,   /* more frames of the same tag follow */
    WIRE_FRAME_URGENT = 1u << 2, /* send what was held back for batching */
};

struct wire_frame_header {
    uint32_t payload_bytes;
    uint8_t kind; /* enum wire_frame_kind */
    uint8_t flags;
    uint32_t tag;
    uint64_t seq;
    uint64_t ack;
};

/* Any thread; header must hold values that decode again. */
void wire_frame_encode(const struct wire_frame_header *header,
                       uint8_t out[WIRE_FRAME_HEADER_BYTES]);

/*
 * Read and check one header.
 *
 * Errors: GP_ERR_PROTOCOL for another magic, an unknown kind, a reserved field that is not 0;
 *         GP_ERR_LIMIT for a payload above max_payload_bytes. Not logged; *header_p is untouched.
 */
GP_CHECK enum gp_status wire_frame_decode(const uint8_t in[WIRE_FRAME_HEADER_BYTES],
                                          uint32_t max_payload_bytes,
                                          struct wire_frame_header *header_p);

/* "CALLS"; "?" for an unknown kind. */
const char *wire_frame_kind_text(unsigned kind);

/* What the transport needs to cut a stream into these frames: tp_opts.framing = &wire_framing. */
extern const struct gp_framing wire_framing;

#endif
