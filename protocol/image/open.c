/* protocol/image/open.c -- from the flat form, hostile until checked, to what drivers take */
#include "protocol/image/image_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* A fatbin that fills its bytes exactly and whose chain of entries is whole. */
static enum gp_status
check_fatbin(const struct gp_image_part *part)
{
    struct gp_image_entry entry;
    struct gp_image_walk walk;
    enum gp_status status;
    size_t len;

    if (gp_image_fatbin_len(part->data, part->len, &len) != GP_OK || len != part->len)
        return GP_ERR_PROTOCOL;
    status = gp_image_walk_begin(part, &walk);
    while (status == GP_OK)
        status = gp_image_walk_next(&walk, &entry);
    return status == GP_ERR_NOT_FOUND ? GP_OK : GP_ERR_PROTOCOL;
}

static enum gp_status
open_plain(enum gp_image_kind kind, const uint8_t *flat, size_t len, struct gp_image *image)
{
    struct gp_image_part *part = calloc(1, sizeof(*part));
    enum gp_status status = GP_OK;
    size_t end;

    if (part == NULL)
        return GP_ERR_NO_MEMORY;
    *part = (struct gp_image_part){flat, len};
    if (kind == GP_IMAGE_FATBIN) {
        status = check_fatbin(part);
    } else if (kind == GP_IMAGE_ELF) {
        if (gp_image_elf_len(flat, len, &end) != GP_OK)
            status = GP_ERR_PROTOCOL;
    } else {
        part->len = strnlen((const char *)flat, len);
        /* Exactly one NUL, at the end. */
        if (part->len + 1 != len)
            status = GP_ERR_PROTOCOL;
    }
    if (status != GP_OK) {
        free(part);
        return status;
    }
    *image = (struct gp_image){
        .kind = kind, .parts = part, .nparts = 1, .driver_image = flat, .memory = part};
    return GP_OK;
}

/* All that is allocated for a wrapper, in one piece behind this. */
struct rebuilt {
    struct gp_image_wrapper wrapper;
    const void **prelinked;
    struct gp_image_part *parts;
};

static struct rebuilt *
rebuilt_create(size_t count)
{
    size_t list = (count + 1) * sizeof(void *), parts = count * sizeof(struct gp_image_part);
    struct rebuilt *r = calloc(1, sizeof(*r) + list + parts);

    if (r == NULL)
        return NULL;
    r->prelinked = (const void **)(r + 1);
    r->parts = (struct gp_image_part *)(void *)((uint8_t *)(r + 1) + list);
    return r;
}

/* Cut the flat bytes into count fatbins and check each. */
static enum gp_status
cut_parts(const uint8_t *flat, size_t len, size_t count, struct gp_image_part *parts)
{
    size_t at = flat_head_len(count), i;
    enum gp_status status;

    for (i = 0; i < count; i++) {
        uint64_t part_len = load_u64(flat + FLAT_HEAD_BYTES + i * sizeof(uint64_t));

        if (part_len > len - at)
            return GP_ERR_PROTOCOL;
        parts[i] = (struct gp_image_part){flat + at, (size_t)part_len};
        status = check_fatbin(&parts[i]);
        if (status != GP_OK)
            return status;
        at += part_len;
        if ((-at & 7) > len - at)
            return GP_ERR_PROTOCOL;
        at += -at & 7;
    }
    return at == len ? GP_OK : GP_ERR_PROTOCOL;
}

static enum gp_status
open_wrapper(const uint8_t *flat, size_t len, struct gp_image *image)
{
    uint32_t version, count;
    enum gp_status status;
    struct rebuilt *r;
    size_t i;

    if (len < FLAT_HEAD_BYTES)
        return GP_ERR_PROTOCOL;
    version = load_u32(flat + 4);
    count = load_u32(flat + 8);
    if ((version != 1 && version != 2) || count < 1 || count > GP_IMAGE_PARTS_MAX ||
        (version == 1 && count != 1) || load_u32(flat + 12) != 0 || flat_head_len(count) > len)
        return GP_ERR_PROTOCOL;

    r = rebuilt_create(count);
    if (r == NULL)
        return GP_ERR_NO_MEMORY;
    status = cut_parts(flat, len, count, r->parts);
    if (status != GP_OK) {
        free(r);
        return status;
    }
    for (i = 1; i < count; i++)
        r->prelinked[i - 1] = r->parts[i].data;
    r->wrapper = (struct gp_image_wrapper){GP_IMAGE_WRAPPER_MAGIC, version, r->parts[0].data,
                                           version == 2 ? r->prelinked : NULL};
    *image = (struct gp_image){.kind = GP_IMAGE_WRAPPER,
                               .wrapper_version = version,
                               .parts = r->parts,
                               .nparts = count,
                               .driver_image = &r->wrapper,
                               .memory = r};
    return GP_OK;
}

enum gp_status
gp_image_open(const void *flat, size_t len, struct gp_image *image)
{
    const uint8_t *p = flat;

    if (((uintptr_t)flat & 7) != 0)
        return GP_ERR_INVALID;
    if (len == 0)
        return GP_ERR_PROTOCOL;
    if (looks_like_ptx(p[0]))
        return open_plain(GP_IMAGE_PTX, p, len, image);
    if (len < 4)
        return GP_ERR_PROTOCOL;
    switch (load_u32(p)) {
    case GP_IMAGE_FATBIN_MAGIC:
        return open_plain(GP_IMAGE_FATBIN, p, len, image);
    case GP_IMAGE_ELF_MAGIC:
        return open_plain(GP_IMAGE_ELF, p, len, image);
    case GP_IMAGE_FLAT_MAGIC:
        return open_wrapper(p, len, image);
    default:
        return GP_ERR_PROTOCOL;
    }
}

void
gp_image_close(struct gp_image *image)
{
    free(image->memory);
    *image = (struct gp_image){.kind = GP_IMAGE_UNKNOWN};
}

/* -- description for the log ------------------------------------------------------------ */

static void
append(char *text, size_t size, const char *word)
{
    size_t used = strlen(text);

    snprintf(text + used, size - used, "%s", word);
}

static void
describe_entry(const struct gp_image_entry *e, char *text, size_t size)
{
    const char *what = e->kind == GP_IMAGE_ENTRY_PTX   ? "ptx"
                       : e->kind == GP_IMAGE_ENTRY_ELF ? "elf"
                       : e->kind == GP_IMAGE_ENTRY_LTO ? "lto"
                                                       : "unknown";
    char word[64];

    snprintf(word, sizeof(word), " %s sm_%u%s%s,", what, e->sm,
             (e->flags & GP_IMAGE_FLAG_ARCH_ONLY) != 0 ? "a"
             : (e->flags & GP_IMAGE_FLAG_FAMILY) != 0  ? "f"
                                                       : "",
             e->relocatable ? " relocatable" : "");
    append(text, size, word);
}

void
gp_image_describe(const struct gp_image *image, char *text, size_t size)
{
    static const char *const words[] = {"unknown image", "wrapper:", "fatbin:", "elf", "ptx text"};
    struct gp_image_entry entry;
    struct gp_image_walk walk;
    size_t i, end;

    if (size == 0)
        return;
    snprintf(text, size, "%s", words[image->kind]);
    if (image->kind == GP_IMAGE_ELF) {
        char word[32];

        snprintf(word, sizeof(word), " sm_%u",
                 gp_image_elf_sm(image->parts[0].data, image->parts[0].len));
        append(text, size, word);
    }
    if (image->kind != GP_IMAGE_WRAPPER && image->kind != GP_IMAGE_FATBIN)
        return;
    for (i = 0; i < image->nparts; i++)
        if (gp_image_walk_begin(&image->parts[i], &walk) == GP_OK)
            while (gp_image_walk_next(&walk, &entry) == GP_OK)
                describe_entry(&entry, text, size);
    end = strlen(text);
    if (end > 0 && text[end - 1] == ',')
        text[end - 1] = '\0';
}
