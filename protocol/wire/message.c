/* protocol/wire/message.c */
#include "protocol/wire/message.h"

#include "protocol/base/log.h"

#include <string.h>

/* -- text ----------------------------------------------------------------------------------------
 */

/* Length of the well-formed UTF-8 character at p, 0 if there is none; plain text only. */
static size_t
char_bytes(const unsigned char *p)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    uint32_t code;

    if (n <= 1)
        return p[0] >= 0x20 && p[0] != 0x7f ? n : 0;
    code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
        (code >= 0x80 && code < 0xa0)) /* C1 control characters */
        return 0;
    return n;
}

/* Take a peer's text; max counts the final 0. */
enum gp_status
wire_take_text(const char *field, const char *text, char *out, size_t max)
{
    size_t bytes = strlen(text), at = 0, n;

    if (bytes >= max) {
        log_warn("control message: %s of %zu bytes, the most is %zu", field, bytes, max - 1);
        return GP_ERR_PROTOCOL;
    }
    while (at < bytes && (n = char_bytes((const unsigned char *)text + at)) != 0)
        at += n;
    if (at < bytes) {
        log_warn("control message: %s is not plain UTF-8 text", field);
        return GP_ERR_PROTOCOL;
    }
    memcpy(out, text, bytes + 1);
    return GP_OK;
}

/* Our own text for the wire: what a peer would refuse becomes '?'. NULL without memory. */
char *
wire_give_text(struct wire_pool *pool, const char *text, size_t max)
{
    size_t bytes = strnlen(text, max - 1), at = 0;
    char *out = wire_pool_alloc(pool, bytes + 4);

    if (out == NULL)
        return NULL;
    memcpy(out, text, bytes); /* zeros follow, so a cut character at the end is seen as one */
    while (at < bytes) {
        size_t n = char_bytes((const unsigned char *)out + at);

        if (n == 0)
            out[at] = '?';
        at += n != 0 ? n : 1;
    }
    return out;
}

/* -- bytes, counts -------------------------------------------------------------------------------
 */

/* A field of fixed length; absent reads as zeros. */
enum gp_status
wire_take_bytes(const char *field, const ProtobufCBinaryData *in, uint8_t *out, size_t bytes)
{
    if (in->len != bytes && in->len != 0) {
        log_warn("control message: %s of %zu bytes instead of %zu", field, in->len, bytes);
        return GP_ERR_PROTOCOL;
    }
    memset(out, 0, bytes);
    if (in->len != 0)
        memcpy(out, in->data, bytes);
    return GP_OK;
}

ProtobufCBinaryData
wire_give_bytes(const uint8_t *data, size_t bytes)
{
    return (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)data};
}

enum gp_status
wire_check_count(const char *field, size_t count, size_t max)
{
    if (count <= max)
        return GP_OK;
    log_warn("control message: %zu %s, the most is %zu", count, field, max);
    return GP_ERR_PROTOCOL;
}

/* -- packing and unpacking -----------------------------------------------------------------------
 */

static void *
pb_alloc(void *pool, size_t bytes)
{
    return wire_pool_alloc(pool, bytes);
}

static void
pb_free(void *pool, void *data)
{
    (void)pool; /* freed with the pool */
    (void)data;
}

/* The message lies in pool, which the caller finishes in every case. */
enum gp_status
wire_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t bytes, size_t max,
            struct wire_pool *pool, const void **message_p)
{
    ProtobufCAllocator allocator = {pb_alloc, pb_free, pool};
    const ProtobufCMessage *message;

    *pool = (struct wire_pool){.limit_bytes = max * WIRE_BLOW_UP};
    if (bytes > max) {
        log_warn("control message: %zu bytes, the most is %zu", bytes, max);
        return GP_ERR_PROTOCOL;
    }
    message = protobuf_c_message_unpack(type, &allocator, bytes, data);
    if (message == NULL) {
        log_warn("control message: malformed %s", type->short_name);
        return GP_ERR_PROTOCOL;
    }
    *message_p = message;
    return GP_OK;
}

enum gp_status
wire_pack(const ProtobufCMessage *message, size_t max, struct gp_buf *out)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *to;

    if (bytes > max)
        return GP_ERR_INVALID;
    to = gp_buf_reserve(out, bytes > 0 ? bytes : 1);
    if (to == NULL)
        return gp_buf_status(out);
    out->len += protobuf_c_message_pack(message, to);
    return GP_OK;
}
