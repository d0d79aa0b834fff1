/* protocol/image/entry.c -- the entries of a fatbin */
#include "protocol/image/image_priv.h"

#include "protocol/base/compress.h"

#include <stdlib.h>

enum gp_status
gp_image_walk_begin(const struct gp_image_part *fatbin, struct gp_image_walk *walk)
{
    size_t len;

    if (gp_image_fatbin_len(fatbin->data, fatbin->len, &len) != GP_OK)
        return GP_ERR_PROTOCOL;
    walk->at = fatbin->data + load_u16(fatbin->data + 6);
    walk->end = fatbin->data + len;
    return GP_OK;
}

static bool
is_relocatable(const uint8_t *header, size_t header_len)
{
    static const char option[] = "--compile-only";
    uint32_t at = load_u32(header + 0x14);

    return at != 0 && at < header_len &&
           memmem(header + at, header_len - at, option, sizeof(option) - 1) != NULL;
}

/* A name outside the header is dropped, it is for people only. */
static void
read_name(const uint8_t *header, size_t header_len, struct gp_image_entry *entry)
{
    uint32_t at = load_u32(header + 0x20), len = load_u32(header + 0x24);

    if (at == 0 || at > header_len || len > header_len - at)
        return;
    entry->name = (const char *)header + at;
    entry->name_len = len;
}

enum gp_status
gp_image_walk_next(struct gp_image_walk *walk, struct gp_image_entry *entry)
{
    const uint64_t packed = GP_IMAGE_FLAG_ZSTD | GP_IMAGE_FLAG_LZ4;
    const uint8_t *p = walk->at;
    size_t left = (size_t)(walk->end - p);
    uint64_t header_len, payload_len, stored;
    struct gp_image_entry e = {0};

    if (left == 0)
        return GP_ERR_NOT_FOUND;
    if (left < ENTRY_HEADER_BYTES)
        return GP_ERR_PROTOCOL;
    header_len = load_u32(p + 4);
    payload_len = load_u64(p + 8);
    if (header_len < ENTRY_HEADER_BYTES || header_len > left || payload_len > left - header_len)
        return GP_ERR_PROTOCOL;

    e.kind = load_u16(p);
    e.minor = load_u16(p + 0x18);
    e.major = load_u16(p + 0x1a);
    e.sm = load_u32(p + 0x1c);
    e.flags = load_u64(p + 0x28);
    e.relocatable = is_relocatable(p, header_len);
    read_name(p, header_len, &e);
    e.payload = p + header_len;
    e.payload_len = (size_t)payload_len;
    if ((e.flags & packed) != 0) {
        stored = load_u32(p + 0x10);
        e.unpacked_len = load_u64(p + 0x38);
        if (stored > payload_len || (e.flags & packed) == packed)
            return GP_ERR_PROTOCOL;
        e.payload_len = stored != 0 ? (size_t)stored : e.payload_len;
    }
    walk->at = e.payload + payload_len;
    *entry = e;
    return GP_OK;
}

static enum gp_status
unpack_into(const struct gp_image_entry *entry, uint8_t *data, size_t size, size_t *len_p)
{
    if ((entry->flags & GP_IMAGE_FLAG_ZSTD) != 0)
        return gp_zstd_decompress(entry->payload, entry->payload_len, data, size, len_p);
    if ((entry->flags & GP_IMAGE_FLAG_LZ4) != 0)
        return gp_lz4_decompress(entry->payload, entry->payload_len, data, size, len_p);
    memcpy(data, entry->payload, size);
    *len_p = size;
    return GP_OK;
}

enum gp_status
gp_image_unpack(const struct gp_image_entry *entry, size_t limit, uint8_t **data_p, size_t *len_p)
{
    bool packed = (entry->flags & (GP_IMAGE_FLAG_ZSTD | GP_IMAGE_FLAG_LZ4)) != 0;
    uint64_t size = packed ? entry->unpacked_len : entry->payload_len;
    enum gp_status status;
    uint8_t *data;
    size_t len;

    if (entry->kind == GP_IMAGE_ENTRY_LTO)
        return GP_ERR_NOT_SUPPORTED;
    if (size > limit || size == SIZE_MAX)
        return GP_ERR_LIMIT;
    data = malloc((size_t)size + 1);
    if (data == NULL)
        return GP_ERR_NO_MEMORY;
    status = unpack_into(entry, data, (size_t)size, &len);
    if (status == GP_OK && len != size)
        status = GP_ERR_PROTOCOL;
    if (status != GP_OK) {
        free(data);
        return status;
    }
    data[len] = '\0';
    *len_p = entry->kind == GP_IMAGE_ENTRY_PTX ? strnlen((char *)data, len) : len;
    *data_p = data;
    return GP_OK;
}

static bool
may_run(const struct gp_image_entry *entry, uint32_t cc)
{
    if (entry->kind != GP_IMAGE_ENTRY_PTX || entry->sm > cc)
        return false;
    if ((entry->flags & GP_IMAGE_FLAG_ARCH_ONLY) != 0)
        return entry->sm == cc;
    if ((entry->flags & GP_IMAGE_FLAG_FAMILY) != 0)
        return entry->sm / 10 == cc / 10;
    return true;
}

enum gp_status
gp_image_best_ptx(const struct gp_image_part *fatbin, uint32_t cc, struct gp_image_entry *entry)
{
    struct gp_image_entry e, best = {0};
    struct gp_image_walk walk;
    enum gp_status status = gp_image_walk_begin(fatbin, &walk);

    while (status == GP_OK) {
        status = gp_image_walk_next(&walk, &e);
        if (status == GP_OK && may_run(&e, cc) && (best.payload == NULL || e.sm > best.sm))
            best = e;
    }
    if (status == GP_ERR_NOT_FOUND && best.payload != NULL) {
        *entry = best;
        return GP_OK;
    }
    return status;
}
