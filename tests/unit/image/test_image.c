/* tests/unit/image/test_image.c -- kinds, lengths, entries, flat form */
#include "protocol/image/image.h"

#include "protocol/base/util.h"
#include "tests/unit/image/build_image.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

static const char ptx75[] = "// a\n.version 6.3\n.target sm_75\n.address_size 64\n"
                            ".visible .entry seventyfive() { ret; }\n";
static const char ptx90[] = "// b\n.version 9.0\n.target sm_90\n.address_size 64\n"
                            ".visible .entry ninety() { ret; }\n";

static struct built fat, fat2;

/* A copy that ends at the end of its malloc'ed block, so that sanitizers see every overrun. */
static uint8_t *
tight(const void *data, size_t len)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);

    cr_assert_not_null(copy);
    memcpy(copy, data, len);
    return copy;
}

static void
build_default(struct built *b)
{
    uint8_t elf[512];
    size_t elf_len = built_elf(elf, 75);

    built_begin(b);
    built_add(b, 2, 75, 0, elf, elf_len, 0);
    built_add_ptx(b, 75, 0x8000, ptx75);
    built_add_ptx(b, 90, 0x2000, ptx90);
}

static struct gp_image_part
part_of(const struct built *b)
{
    return (struct gp_image_part){b->bytes, b->len};
}

static void
assert_ptx(const struct gp_image_entry *e, const char *text)
{
    GP_AUTO_FREE uint8_t *data = NULL;
    size_t len;

    cr_assert_eq(gp_image_unpack(e, 1 << 20, &data, &len), GP_OK);
    cr_assert_eq(len, strlen(text));
    cr_assert_str_eq((char *)data, text);
}

Test(image, kinds_are_told_by_their_first_bytes)
{
    uint8_t elf[512];
    struct gp_image_wrapper w = {GP_IMAGE_WRAPPER_MAGIC, 1, NULL, NULL};

    built_begin(&fat);
    built_elf(elf, 90);
    cr_assert_eq(gp_image_classify(fat.bytes), GP_IMAGE_FATBIN);
    cr_assert_eq(gp_image_classify(&w), GP_IMAGE_WRAPPER);
    cr_assert_eq(gp_image_classify(elf), GP_IMAGE_ELF);
    cr_assert_eq(gp_image_classify(ptx75), GP_IMAGE_PTX);
    cr_assert_eq(gp_image_classify("\n.version"), GP_IMAGE_PTX);
    cr_assert_eq(gp_image_classify("hello"), GP_IMAGE_UNKNOWN);
    cr_assert_eq(gp_image_classify(""), GP_IMAGE_UNKNOWN);
    cr_assert_eq(gp_image_classify(NULL), GP_IMAGE_UNKNOWN);
}

Test(image, entries_come_in_order_and_unpack_from_zstd_lz4_and_raw)
{
    struct gp_image_part part;
    struct gp_image_walk walk;
    struct gp_image_entry e;
    uint8_t elf[512];
    GP_AUTO_FREE uint8_t *data = NULL;
    size_t len, elf_len = built_elf(elf, 75);

    build_default(&fat);
    part = part_of(&fat);
    cr_assert_eq(gp_image_walk_begin(&part, &walk), GP_OK);

    cr_assert_eq(gp_image_walk_next(&walk, &e), GP_OK);
    cr_assert_eq(e.kind, GP_IMAGE_ENTRY_ELF);
    cr_assert_eq(e.sm, 75);
    cr_assert_eq(gp_image_unpack(&e, 1 << 20, &data, &len), GP_OK);
    cr_assert_eq(len, elf_len);
    cr_assert_arr_eq(data, elf, elf_len);
    cr_assert_eq(gp_image_elf_sm(data, len), 75);

    cr_assert_eq(gp_image_walk_next(&walk, &e), GP_OK);
    cr_assert_eq(e.kind, GP_IMAGE_ENTRY_PTX);
    cr_assert_eq(e.unpacked_len, sizeof(ptx75));
    assert_ptx(&e, ptx75);

    cr_assert_eq(gp_image_walk_next(&walk, &e), GP_OK);
    cr_assert_eq(e.sm, 90);
    cr_assert_eq(e.major, 9);
    assert_ptx(&e, ptx90);

    cr_assert_eq(gp_image_walk_next(&walk, &e), GP_ERR_NOT_FOUND);
}

Test(image, best_ptx_is_the_highest_not_above_the_device)
{
    struct gp_image_part part;
    struct gp_image_entry e;

    build_default(&fat);
    part = part_of(&fat);
    cr_assert_eq(gp_image_best_ptx(&part, 70, &e), GP_ERR_NOT_FOUND);
    cr_assert_eq(gp_image_best_ptx(&part, 75, &e), GP_OK);
    assert_ptx(&e, ptx75);
    cr_assert_eq(gp_image_best_ptx(&part, 89, &e), GP_OK);
    cr_assert_eq(e.sm, 75);
    cr_assert_eq(gp_image_best_ptx(&part, 121, &e), GP_OK);
    assert_ptx(&e, ptx90);
}

Test(image, best_ptx_honours_architecture_and_family_bounds)
{
    struct gp_image_part part;
    struct gp_image_entry e;

    built_begin(&fat);
    built_add_ptx(&fat, 75, 0, ptx75);
    built_add_ptx(&fat, 90, GP_IMAGE_FLAG_ARCH_ONLY, ptx90);
    built_add_ptx(&fat, 100, GP_IMAGE_FLAG_FAMILY, ptx90);
    part = part_of(&fat);
    cr_assert_eq(gp_image_best_ptx(&part, 90, &e), GP_OK);
    cr_assert_eq(e.sm, 90);
    cr_assert_eq(gp_image_best_ptx(&part, 91, &e), GP_OK);
    cr_assert_eq(e.sm, 75);
    cr_assert_eq(gp_image_best_ptx(&part, 103, &e), GP_OK);
    cr_assert_eq(e.sm, 100);
    cr_assert_eq(gp_image_best_ptx(&part, 121, &e), GP_OK);
    cr_assert_eq(e.sm, 75);
}

Test(image, unpacking_stops_at_the_limit_and_at_damage)
{
    uint8_t *data = NULL, *copy;
    struct gp_image_part part;
    struct gp_image_entry e;
    size_t len, zstd_entry = 16;

    built_begin(&fat);
    built_add_ptx(&fat, 75, 0x8000, ptx75);
    part = part_of(&fat);
    cr_assert_eq(gp_image_best_ptx(&part, 75, &e), GP_OK);
    cr_assert_eq(gp_image_unpack(&e, sizeof(ptx75) - 1, &data, &len), GP_ERR_LIMIT);

    /* A claimed size that is a byte too small, too large, or absurd. */
    put_u64(fat.bytes + zstd_entry + 0x38, sizeof(ptx75) - 1);
    cr_assert_eq(gp_image_best_ptx(&part, 75, &e), GP_OK);
    cr_assert_eq(gp_image_unpack(&e, 1 << 20, &data, &len), GP_ERR_PROTOCOL);
    put_u64(fat.bytes + zstd_entry + 0x38, sizeof(ptx75) + 1);
    cr_assert_eq(gp_image_best_ptx(&part, 75, &e), GP_OK);
    cr_assert_eq(gp_image_unpack(&e, 1 << 20, &data, &len), GP_ERR_PROTOCOL);
    put_u64(fat.bytes + zstd_entry + 0x38, UINT64_MAX);
    cr_assert_eq(gp_image_best_ptx(&part, 75, &e), GP_OK);
    cr_assert_eq(gp_image_unpack(&e, SIZE_MAX, &data, &len), GP_ERR_LIMIT);

    /* Both compressions at once. */
    put_u64(fat.bytes + zstd_entry + 0x28, 0xa011);
    copy = tight(fat.bytes, fat.len);
    part.data = copy;
    cr_assert_eq(gp_image_best_ptx(&part, 75, &e), GP_ERR_PROTOCOL);
    free(copy);
    cr_assert_null(data);
}

Test(image, elf_length_is_the_furthest_of_its_tables_and_contents)
{
    uint8_t elf[512], *copy;
    size_t len = built_elf(elf, 90), found, cut;

    cr_assert_eq(gp_image_elf_len(elf, sizeof(elf), &found), GP_OK);
    cr_assert_eq(found, len);
    for (cut = 0; cut < len; cut++) {
        copy = tight(elf, cut);
        cr_assert_eq(gp_image_elf_len(copy, cut, &found), GP_ERR_LIMIT, "cut at %zu", cut);
        free(copy);
    }
}

Test(image, elf_with_its_section_count_in_section_zero_is_measured)
{
    uint8_t elf[512];
    size_t len = built_elf(elf, 90), found;
    uint64_t three = 3;
    uint16_t none = 0;

    memcpy(elf + offsetof(Elf64_Ehdr, e_shnum), &none, sizeof(none));
    memcpy(elf + sizeof(Elf64_Ehdr) + offsetof(Elf64_Shdr, sh_size), &three, sizeof(three));
    cr_assert_eq(gp_image_elf_len(elf, sizeof(elf), &found), GP_OK);
    cr_assert_eq(found, len);
    three = UINT64_MAX / 2;
    memcpy(elf + sizeof(Elf64_Ehdr) + offsetof(Elf64_Shdr, sh_size), &three, sizeof(three));
    cr_assert_eq(gp_image_elf_len(elf, sizeof(elf), &found), GP_ERR_LIMIT);
}

Test(image, text_travels_with_its_nul_and_opens_without)
{
    GP_AUTO_FREE uint8_t *flat = NULL;
    struct gp_image image;
    size_t len;

    cr_assert_eq(gp_image_flatten(ptx90, 1 << 20, &flat, &len), GP_OK);
    cr_assert_eq(len, sizeof(ptx90));
    cr_assert_eq(gp_image_open(flat, len, &image), GP_OK);
    cr_assert_eq(image.kind, GP_IMAGE_PTX);
    cr_assert_eq(image.parts[0].len, strlen(ptx90));
    cr_assert_str_eq((const char *)image.driver_image, ptx90);
    gp_image_close(&image);

    /* Without the NUL a driver would run on; with one inside, the text is not what it seems. */
    cr_assert_eq(gp_image_open(flat, len - 1, &image), GP_ERR_PROTOCOL);
    flat[7] = '\0';
    cr_assert_eq(gp_image_open(flat, len, &image), GP_ERR_PROTOCOL);
}

Test(image, bytes_over_the_limit_are_refused)
{
    struct gp_image_wrapper w = {GP_IMAGE_WRAPPER_MAGIC, 1, fat.bytes, NULL};
    uint8_t *flat = NULL;
    size_t len;

    build_default(&fat);
    cr_assert_eq(gp_image_flatten(ptx90, sizeof(ptx90) - 1, &flat, &len), GP_ERR_LIMIT);
    cr_assert_eq(gp_image_flatten(fat.bytes, fat.len - 1, &flat, &len), GP_ERR_LIMIT);
    cr_assert_eq(gp_image_flatten(&w, fat.len + 23, &flat, &len), GP_ERR_LIMIT);
    cr_assert_eq(gp_image_flatten(&w, fat.len + 24, &flat, &len), GP_OK);
    free(flat);
    cr_assert_eq(gp_image_flatten("nonsense", 1 << 20, &flat, &len), GP_ERR_INVALID);
}

Test(image, wrapper_of_version_1_survives_the_flat_form)
{
    struct gp_image_wrapper w = {GP_IMAGE_WRAPPER_MAGIC, 1, fat.bytes, NULL};
    const struct gp_image_wrapper *back;
    GP_AUTO_FREE uint8_t *flat = NULL;
    struct gp_image image;
    size_t len;

    build_default(&fat);
    cr_assert_eq(gp_image_flatten(&w, 1 << 20, &flat, &len), GP_OK);
    cr_assert_eq(gp_image_open(flat, len, &image), GP_OK);
    back = image.driver_image;
    cr_assert_eq(back->magic, GP_IMAGE_WRAPPER_MAGIC);
    cr_assert_eq(back->version, 1);
    cr_assert_null(back->prelinked);
    cr_assert_arr_eq(back->data, fat.bytes, fat.len);
    gp_image_close(&image);
}

Test(image, wrapper_of_version_2_keeps_its_list_of_prelink_fatbins)
{
    struct gp_image_wrapper inner = {GP_IMAGE_WRAPPER_MAGIC, 1, fat2.bytes, NULL};
    const void *list[] = {fat2.bytes, &inner, NULL};
    struct gp_image_wrapper w = {GP_IMAGE_WRAPPER_MAGIC, 2, fat.bytes, list};
    const struct gp_image_wrapper *back;
    GP_AUTO_FREE uint8_t *flat = NULL;
    struct gp_image image;
    char text[256];
    size_t len;

    build_default(&fat);
    built_begin(&fat2);
    built_add_ptx(&fat2, 80, 0, ptx75);
    cr_assert_eq(gp_image_flatten(&w, 1 << 20, &flat, &len), GP_OK);
    cr_assert_eq(gp_image_open(flat, len, &image), GP_OK);
    cr_assert_eq(image.nparts, 3);
    back = image.driver_image;
    cr_assert_eq(back->version, 2);
    cr_assert_arr_eq(back->data, fat.bytes, fat.len);
    cr_assert_arr_eq(back->prelinked[0], fat2.bytes, fat2.len);
    cr_assert_arr_eq(back->prelinked[1], fat2.bytes, fat2.len);
    cr_assert_null(back->prelinked[2]);
    cr_assert_eq((uintptr_t)back->prelinked[1] & 7, 0);

    gp_image_describe(&image, text, sizeof(text));
    cr_assert_str_eq(text, "wrapper: elf sm_75, ptx sm_75, ptx sm_90, ptx sm_80, ptx sm_80");
    gp_image_describe(&image, text, 15);
    cr_assert_str_eq(text, "wrapper: elf s");
    gp_image_close(&image);
}

Test(image, wrapper_with_a_broken_member_is_refused_by_the_client)
{
    const void *list[] = {"text", NULL};
    struct gp_image_wrapper w = {GP_IMAGE_WRAPPER_MAGIC, 2, fat.bytes, list};
    uint8_t *flat = NULL;
    size_t len;

    build_default(&fat);
    cr_assert_eq(gp_image_flatten(&w, 1 << 20, &flat, &len), GP_ERR_INVALID);
    w.version = 3;
    cr_assert_eq(gp_image_flatten(&w, 1 << 20, &flat, &len), GP_ERR_INVALID);
    w.version = 1;
    w.data = NULL;
    cr_assert_eq(gp_image_flatten(&w, 1 << 20, &flat, &len), GP_ERR_INVALID);
    cr_assert_null(flat);
}

Test(image, every_truncation_of_a_flat_form_is_refused)
{
    const void *list[] = {fat2.bytes, NULL};
    struct gp_image_wrapper w = {GP_IMAGE_WRAPPER_MAGIC, 2, fat.bytes, list};
    GP_AUTO_FREE uint8_t *flat = NULL;
    struct gp_image image;
    size_t len, cut;

    build_default(&fat);
    built_begin(&fat2);
    built_add_ptx(&fat2, 80, 0x8000, ptx75);
    cr_assert_eq(gp_image_flatten(&w, 1 << 20, &flat, &len), GP_OK);
    for (cut = 0; cut < len; cut++) {
        uint8_t *copy = tight(flat, cut);

        cr_assert_eq(gp_image_open(copy, cut, &image), GP_ERR_PROTOCOL, "cut at %zu", cut);
        free(copy);
    }
}

/* offset within the fatbin, value: each breaks a bound. */
static const struct {
    size_t offset;
    uint64_t value;
    int bytes;
} damages[] = {
    {0, 0, 4},               /* no magic */
    {6, 8, 2},               /* header shorter than itself */
    {6, 0xffff, 2},          /* header beyond the end */
    {8, 0, 8},               /* payload too short for what follows */
    {8, UINT64_MAX, 8},      /* overflow */
    {8, UINT64_MAX - 15, 8}, /* overflow to exactly the end */
    {16 + 4, 0, 4},          /* entry header of no length: an endless chain */
    {16 + 4, 63, 4},         /* entry header too short */
    {16 + 4, UINT32_MAX, 4}, /* entry header beyond the end */
    {16 + 8, UINT64_MAX, 8}, /* entry payload overflow */
    {16 + 8, 8, 8},          /* entry payload too short: the next header is nonsense */
};

Test(image, every_damaged_bound_is_refused)
{
    struct gp_image image;
    size_t i;

    for (i = 0; i < GP_ARRAY_LEN(damages); i++) {
        uint8_t *copy;

        build_default(&fat);
        memcpy(fat.bytes + damages[i].offset, &damages[i].value, (size_t)damages[i].bytes);
        copy = tight(fat.bytes, fat.len);
        cr_assert_eq(gp_image_open(copy, fat.len, &image), GP_ERR_PROTOCOL, "damage %zu", i);
        free(copy);
    }
}

Test(image, flat_head_that_contradicts_itself_is_refused)
{
    static const struct {
        size_t offset;
        uint32_t value;
    } heads[] = {{4, 0}, {4, 3}, {8, 0}, {8, 2}, {8, UINT32_MAX}, {12, 1}, {16, 8}, {20, 1}};
    struct gp_image_wrapper w = {GP_IMAGE_WRAPPER_MAGIC, 1, fat.bytes, NULL};
    GP_AUTO_FREE uint8_t *flat = NULL;
    struct gp_image image;
    size_t len, i;

    build_default(&fat);
    cr_assert_eq(gp_image_flatten(&w, 1 << 20, &flat, &len), GP_OK);
    for (i = 0; i < GP_ARRAY_LEN(heads); i++) {
        uint8_t *copy = tight(flat, len);

        put_u32(copy + heads[i].offset, heads[i].value);
        cr_assert_eq(gp_image_open(copy, len, &image), GP_ERR_PROTOCOL, "head %zu", i);
        free(copy);
    }
    cr_assert_eq(gp_image_open(flat + 4, len - 4, &image), GP_ERR_INVALID);
}

Test(image, names_outside_the_entry_header_are_dropped)
{
    struct gp_image_part part;
    struct gp_image_walk walk;
    struct gp_image_entry e;

    build_default(&fat);
    put_u32(fat.bytes + 16 + 0x20, 60);
    put_u32(fat.bytes + 16 + 0x24, 4);
    part = part_of(&fat);
    cr_assert_eq(gp_image_walk_begin(&part, &walk), GP_OK);
    cr_assert_eq(gp_image_walk_next(&walk, &e), GP_OK);
    cr_assert_eq(e.name_len, 4);
    put_u32(fat.bytes + 16 + 0x24, 5);
    cr_assert_eq(gp_image_walk_begin(&part, &walk), GP_OK);
    cr_assert_eq(gp_image_walk_next(&walk, &e), GP_OK);
    cr_assert_null(e.name);
}
