/* protocol/wire/negotiate.h -- what two hellos agree on
 *
 * Pure: no clock, no socket, no lock.
 */
#ifndef WIRE_NEGOTIATE_H
#define WIRE_NEGOTIATE_H

#include "protocol/base/status.h"
#include "protocol/wire/control.h"

#include <stdint.h>

/* Raised when frames or codecs change so that an older peer would misread them. */
#define WIRE_FORMAT 1u
/* Raised with each addition that an older peer may ignore. */
#define WIRE_MINOR 0u

/* Bits of wire_hello.features; a bit is used only when both sides have it. */
enum {
    WIRE_FEATURE_RESUME = 1u << 0,   /* numbered frames are kept until acknowledged */
    WIRE_FEATURE_BULK = 1u << 1,     /* further connections for DATA frames */
    WIRE_FEATURE_COMPRESS = 1u << 2, /* gpCopyPacked, WIRE_DATA_PACKED */
    WIRE_FEATURE_PROMISE = 1u << 3,  /* gpNoticeLibrary, gpLibraryAdopt */
    WIRE_FEATURE_CONTENT = 1u << 4,  /* gpCopyKnown, gpCopyKept */
};

struct wire_agreed {
    uint32_t minor;
    uint64_t features;
    uint32_t max_payload_bytes; /* of a frame in either direction */
};

/*
 * Find what both sides can do; symmetric.
 *
 * Errors: GP_ERR_VERSION if the wire formats differ, GP_ERR_PROTOCOL if the peer's maximum is
 *         below WIRE_FRAME_PAYLOAD_MIN. Not logged: refusal says it in words for the answer and
 *         the log. *out_p is untouched then.
 */
GP_CHECK enum gp_status wire_negotiate(const struct wire_hello *mine, const struct wire_hello *peer,
                                       struct wire_agreed *out_p,
                                       struct wire_error_answer *refusal_p);

/* Features by name, for --mask-feature; GP_ERR_NOT_FOUND for an unknown name. */
GP_CHECK enum gp_status wire_feature_by_name(const char *name, uint64_t *bit_p);

#endif
