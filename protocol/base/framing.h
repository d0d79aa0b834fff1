/* protocol/base/framing.h -- how a byte stream falls into frames
 *
 * The transport moves whole frames without knowing what is in them: it asks
 * the format's owner (protocol/wire/frame.h) how long a frame is.
 */
#ifndef GP_FRAMING_H
#define GP_FRAMING_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define GP_FRAMING_HEADER_MAX 64

struct gp_framing {
    /* Bytes of the fixed header in front of each frame, 1..GP_FRAMING_HEADER_MAX. */
    uint32_t header_bytes;

    /*
     * Check a header that a peer sent and say how many payload bytes follow it.
     *
     * Pure, called before anything is allocated for the frame.
     * Errors: GP_ERR_PROTOCOL if it is no header of ours, GP_ERR_LIMIT if the payload is longer
     *         than max_payload_bytes; *payload_bytes_p is then untouched. Not logged.
     */
    enum gp_status (*measure)(const uint8_t *header, uint32_t max_payload_bytes,
                              uint32_t *payload_bytes_p);

    /* What a lane that survives its line needs beside (transport/link); pure, of checked headers.
     * acknowledged: how many bytes the sender of this header had received.
     * is_last:      nothing follows in this direction.
     * make_ack:     the header of an empty frame that says only that. */
    uint64_t (*acknowledged)(const uint8_t *header);
    bool (*is_last)(const uint8_t *header);
    void (*make_ack)(uint8_t *header, uint64_t received_bytes);
};

#endif
