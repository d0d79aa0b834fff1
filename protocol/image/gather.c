/* protocol/image/gather.c -- from a program's pointer to the flat form */
#include "protocol/image/image_priv.h"

#include <stdlib.h>

static const uint8_t zeros[8];

/* The single piece of an image that is flat already. */
static enum gp_status
plain_len(const void *image, enum gp_image_kind kind, size_t limit, size_t *len_p)
{
    enum gp_status status;
    size_t len;

    switch (kind) {
    case GP_IMAGE_FATBIN:
        status = gp_image_fatbin_len(image, limit, len_p);
        break;
    case GP_IMAGE_ELF:
        status = gp_image_elf_len(image, limit, len_p);
        break;
    case GP_IMAGE_PTX:
        len = strnlen(image, limit);
        if (len == limit)
            return GP_ERR_LIMIT;
        *len_p = len + 1;
        return GP_OK;
    default:
        return GP_ERR_INVALID;
    }
    return status;
}

/* The fatbin behind an element of a version 2 list: itself, or one wrapped once more. */
static const void *
unwrap(const void *image)
{
    const struct gp_image_wrapper *w = image;

    if (gp_image_classify(image) == GP_IMAGE_WRAPPER)
        return w->data;
    return image;
}

static size_t
count_parts(const struct gp_image_wrapper *w)
{
    size_t count = 1;

    if (w->version != 2 || w->prelinked == NULL)
        return 1;
    while (count <= GP_IMAGE_PARTS_MAX && w->prelinked[count - 1] != NULL)
        count++;
    return count;
}

static void
put_head(uint8_t *head, uint32_t version, size_t count)
{
    const uint32_t words[4] = {GP_IMAGE_FLAT_MAGIC, version, (uint32_t)count, 0};

    memcpy(head, words, sizeof(words));
}

/* One fatbin and its padding: pieces[0] and [1], its length into the head. */
static enum gp_status
gather_part(struct gp_image_gather *g, const void *image, size_t index, size_t limit)
{
    struct iovec *pieces = g->pieces + 1 + 2 * index;
    enum gp_status status;
    uint64_t len64;
    size_t len, pad;

    if (gp_image_classify(image) != GP_IMAGE_FATBIN)
        return GP_ERR_INVALID;
    status = gp_image_fatbin_len(image, limit - g->len, &len);
    if (status != GP_OK)
        return status;
    pad = -len & 7;
    if (pad > limit - g->len - len)
        return GP_ERR_LIMIT;
    len64 = len;
    memcpy(g->head + FLAT_HEAD_BYTES + index * sizeof(len64), &len64, sizeof(len64));
    pieces[0] = (struct iovec){(void *)(uintptr_t)image, len};
    pieces[1] = (struct iovec){(void *)(uintptr_t)zeros, pad};
    g->len += len + pad;
    return GP_OK;
}

static enum gp_status
gather_wrapper(const struct gp_image_wrapper *w, size_t limit, struct gp_image_gather *g)
{
    size_t count = count_parts(w), head_len = flat_head_len(count), i;
    struct gp_image_gather mine = {.kind = GP_IMAGE_WRAPPER};
    enum gp_status status = GP_OK;

    if ((w->version != 1 && w->version != 2) || w->data == NULL)
        return GP_ERR_INVALID;
    if (count > GP_IMAGE_PARTS_MAX || head_len > limit)
        return GP_ERR_LIMIT;

    mine.count = (int)(1 + 2 * count);
    mine.pieces = calloc((size_t)mine.count, sizeof(*mine.pieces));
    mine.head = calloc(1, head_len);
    if (mine.pieces == NULL || mine.head == NULL)
        status = GP_ERR_NO_MEMORY;

    if (status == GP_OK) {
        put_head(mine.head, w->version, count);
        mine.pieces[0] = (struct iovec){mine.head, head_len};
        mine.len = head_len;
        status = gather_part(&mine, unwrap(w->data), 0, limit);
    }
    for (i = 1; status == GP_OK && i < count; i++)
        status = gather_part(&mine, unwrap(w->prelinked[i - 1]), i, limit);

    if (status == GP_OK)
        *g = mine;
    else
        gp_image_gather_fini(&mine);
    return status;
}

enum gp_status
gp_image_gather(const void *image, size_t limit, struct gp_image_gather *g)
{
    enum gp_image_kind kind = gp_image_classify(image);
    struct gp_image_gather mine = {.kind = kind, .count = 1};
    enum gp_status status;

    if (kind == GP_IMAGE_WRAPPER)
        return gather_wrapper(image, limit, g);
    status = plain_len(image, kind, limit, &mine.len);
    if (status != GP_OK)
        return status;
    mine.pieces = calloc(1, sizeof(*mine.pieces));
    if (mine.pieces == NULL)
        return GP_ERR_NO_MEMORY;
    mine.pieces[0] = (struct iovec){(void *)(uintptr_t)image, mine.len};
    *g = mine;
    return GP_OK;
}

void
gp_image_gather_fini(struct gp_image_gather *g)
{
    free(g->pieces);
    free(g->head);
    *g = (struct gp_image_gather){.kind = GP_IMAGE_UNKNOWN};
}

enum gp_status
gp_image_flatten(const void *image, size_t limit, uint8_t **flat_p, size_t *len_p)
{
    struct gp_image_gather g;
    enum gp_status status = gp_image_gather(image, limit, &g);
    uint8_t *flat, *at;
    int i;

    if (status != GP_OK)
        return status;
    flat = malloc(g.len);
    if (flat == NULL) {
        gp_image_gather_fini(&g);
        return GP_ERR_NO_MEMORY;
    }
    for (at = flat, i = 0; i < g.count; at += g.pieces[i].iov_len, i++)
        memcpy(at, g.pieces[i].iov_base, g.pieces[i].iov_len);
    *flat_p = flat;
    *len_p = g.len;
    gp_image_gather_fini(&g);
    return GP_OK;
}
