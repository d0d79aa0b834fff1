/* tests/unit/soft/test_texture.c -- what a texture gives, without a kernel around it */
#include "backend/driver/soft/exec/tex_sample.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const float texels[3] = {10, 20, 30};

static const void *
read_texel(void *opaque, uint64_t address, uint32_t bytes)
{
    (void)opaque;
    (void)bytes;
    return (const void *)(uintptr_t)address;
}

static float
sample(CUaddress_mode mode, bool linear, float x)
{
    const struct sd_texture t = {
        .format = CU_AD_FORMAT_FLOAT,
        .channels = 1,
        .nlevels = 1,
        .address = {(uint8_t)mode, (uint8_t)mode, (uint8_t)mode},
        .linear = linear,
        .normalized = true,
        .levels = {{.base = (uintptr_t)texels, .width = 3, .height = 1, .depth = 1}},
    };
    const struct sd_tex_at at = {.x = x};
    struct sd_tex_reader reader = {.read = read_texel};
    uint32_t out[4];
    float value;

    cr_assert(sd_tex_sample(&t, SD_TEX_1D, &at, &reader, out));
    memcpy(&value, &out[0], sizeof(value));
    return value;
}

/* The fraction of an infinite coordinate is no number: it counts as 0, like such a coordinate. */
Test(texture, an_infinite_coordinate_repeats_to_the_first_texel)
{
    static const CUaddress_mode modes[] = {CU_TR_ADDRESS_MODE_WRAP, CU_TR_ADDRESS_MODE_MIRROR};

    for (int i = 0; i < 2; i++) {
        for (int linear = 0; linear < 2; linear++) {
            cr_expect_float_eq(sample(modes[i], linear != 0, INFINITY), 10, 0);
            cr_expect_float_eq(sample(modes[i], linear != 0, -INFINITY), 10, 0);
        }
    }
    cr_expect_float_eq(sample(CU_TR_ADDRESS_MODE_CLAMP, false, INFINITY), 30, 0);
}
