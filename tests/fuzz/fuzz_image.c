/* tests/fuzz/fuzz_image.c -- the whole of what a server does with an uploaded module image */
#include "protocol/image/image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const size_t unpack_max = 1 << 20;

static void
visit_fatbin(const struct gp_image_part *part)
{
    struct gp_image_entry e;
    struct gp_image_walk walk;
    uint8_t *bytes;
    size_t len;

    if (gp_image_best_ptx(part, 121, &e) == GP_OK && e.sm > 121)
        abort();
    if (gp_image_walk_begin(part, &walk) != GP_OK)
        return;
    while (gp_image_walk_next(&walk, &e) == GP_OK) {
        if (e.payload < part->data || e.payload + e.payload_len > part->data + part->len)
            abort();
        if (gp_image_unpack(&e, unpack_max, &bytes, &len) != GP_OK)
            continue;
        if (len > unpack_max || bytes[len] != '\0')
            abort();
        (void)gp_image_elf_sm(bytes, len);
        free(bytes);
    }
}

/* What was accepted must come back as the same bytes when it is loaded from memory again. */
static void
check_round_trip(const struct gp_image *image, const uint8_t *flat, size_t size)
{
    uint8_t *again;
    size_t len;

    if (image->kind == GP_IMAGE_ELF)
        return; /* may have bytes behind its end */
    if (gp_image_flatten(image->driver_image, size, &again, &len) != GP_OK)
        abort();
    if (image->kind == GP_IMAGE_WRAPPER ? len != size
                                        : len != size || memcmp(again, flat, len) != 0)
        abort();
    free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *flat = malloc(size == 0 ? 1 : size); /* aligned, and tight for the sanitizer */
    struct gp_image image;
    char text[64];
    size_t i;

    if (flat == NULL)
        return 0;
    memcpy(flat, data, size);
    if (gp_image_open(flat, size, &image) == GP_OK) {
        gp_image_describe(&image, text, sizeof(text));
        for (i = 0; i < image.nparts; i++)
            visit_fatbin(&image.parts[i]);
        check_round_trip(&image, flat, size);
        gp_image_close(&image);
    }
    free(flat);
    return 0;
}
