/* protocol/wire/message.h -- what the messages of this folder share: text, bytes, counts, packing
 *
 * Private to protocol/wire. take_ checks what a peer sent, give_ prepares what we send.
 * Threads: pure, any.
 */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

#include "protocol/base/buf.h"
#include "protocol/base/status.h"
#include "protocol/wire/pool.h"

#include <protobuf-c/protobuf-c.h>

/* protobuf-c makes structs of a message; this bounds what few bytes can blow up to. */
#define WIRE_BLOW_UP 16

/* Take a peer's text; max counts the final 0. */
GP_CHECK enum gp_status wire_take_text(const char *field, const char *text, char *out, size_t max);
/* Our own text for the wire: what a peer would refuse becomes '?'. NULL without memory. */
char *wire_give_text(struct wire_pool *pool, const char *text, size_t max);

/* A field of fixed length; absent reads as zeros. */
GP_CHECK enum gp_status wire_take_bytes(const char *field, const ProtobufCBinaryData *in,
                                        uint8_t *out, size_t bytes);
ProtobufCBinaryData wire_give_bytes(const uint8_t *data, size_t bytes);

GP_CHECK enum gp_status wire_check_count(const char *field, size_t count, size_t max);

/* A message of at most max bytes lies in pool then, which the caller finishes in every case. */
GP_CHECK enum gp_status wire_unpack(const ProtobufCMessageDescriptor *type, const void *data,
                                    size_t bytes, size_t max, struct wire_pool *pool,
                                    const void **message_p);
GP_CHECK enum gp_status wire_pack(const ProtobufCMessage *message, size_t max, struct gp_buf *out);

#endif
