/* backend/driver/soft/dev/snappy.c -- blocks of the Snappy format (format_description.txt): a
 * length, then literals and copies of what came before */
#include "backend/driver/soft/dev/unpack.h"

#include <string.h>

struct cursor {
    const uint8_t *at, *end;
};

/* Little-endian number of 1 to 4 bytes. */
static bool
take(struct cursor *c, unsigned bytes, uint32_t *value_p)
{
    uint32_t value = 0;

    if ((size_t)(c->end - c->at) < bytes)
        return false;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)*c->at++ << 8 * i;
    *value_p = value;
    return true;
}

/* The length of what comes out, seven bits a byte. */
static bool
take_length(struct cursor *c, uint64_t *length_p)
{
    uint64_t length = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (c->at == c->end)
            return false;
        length |= (uint64_t)(*c->at & 0x7f) << shift;
        if ((*c->at++ & 0x80) == 0) {
            *length_p = length;
            return length <= UINT32_MAX;
        }
    }
    return false;
}

static bool
literal(struct cursor *c, unsigned tag, uint8_t *dst, size_t room, size_t *bytes_p)
{
    uint32_t length = tag >> 2;

    if (length >= 60 && !take(c, length - 59, &length))
        return false;
    if (length >= room || length >= (size_t)(c->end - c->at))
        return false;
    memcpy(dst, c->at, (size_t)length + 1);
    c->at += (size_t)length + 1;
    *bytes_p = (size_t)length + 1;
    return true;
}

/* have bytes lie before dst. */
static bool
copy(struct cursor *c, unsigned tag, uint8_t *dst, size_t have, size_t room, size_t *bytes_p)
{
    uint32_t offset, length = (tag >> 2) + 1;

    if ((tag & 3) == 1) {
        if (!take(c, 1, &offset))
            return false;
        offset |= (tag >> 5) << 8;
        length = ((tag >> 2) & 7) + 4;
    } else if (!take(c, (tag & 3) == 2 ? 2 : 4, &offset)) {
        return false;
    }
    if (offset == 0 || offset > have || length > room)
        return false;
    for (uint32_t i = 0; i < length; i++) /* the two may overlap: that repeats a pattern */
        dst[i] = *(dst + i - offset);
    *bytes_p = length;
    return true;
}

bool
sd_snappy_unpack(const uint8_t *src, size_t src_bytes, uint8_t *dst, size_t room, size_t *bytes_p)
{
    struct cursor c = {src, src + src_bytes};
    uint64_t length;
    size_t have = 0, more;

    if (!take_length(&c, &length) || length > room)
        return false;
    while (c.at < c.end) {
        unsigned tag = *c.at++;
        bool good = (tag & 3) == 0 ? literal(&c, tag, dst + have, length - have, &more)
                                   : copy(&c, tag, dst + have, have, length - have, &more);

        if (!good)
            return false;
        have += more;
    }
    *bytes_p = have;
    return have == length;
}
