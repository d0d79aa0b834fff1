/* protocol/image/image_priv.h -- layouts inside protocol/image */
#ifndef GP_IMAGE_PRIV_H
#define GP_IMAGE_PRIV_H

#include "protocol/image/image.h"

#include <string.h>

#define FATBIN_HEADER_BYTES 16u
#define ENTRY_HEADER_BYTES  64u
#define FLAT_HEAD_BYTES     16u

static inline uint16_t
load_u16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t
load_u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t
load_u64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline bool
looks_like_ptx(uint8_t c)
{
    return c == '/' || c == '.' || c == ' ' || (c >= '\t' && c <= '\r');
}

/* Where the flat form of a wrapper puts its first fatbin; count is at most PARTS_MAX. */
static inline size_t
flat_head_len(size_t count)
{
    return FLAT_HEAD_BYTES + count * sizeof(uint64_t);
}

#endif
