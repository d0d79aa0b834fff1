/* tests/unit/wire/test_array.c -- how both sides count an array, whatever a peer says it is */
#include "protocol/wire/array.h"

#include <criterion/criterion.h>

static const CUDA_ARRAY3D_DESCRIPTOR plain = {100, 50, 0, CU_AD_FORMAT_FLOAT, 2, 0};

Test(array, rows_and_slices_are_those_of_elements)
{
    CUDA_ARRAY3D_DESCRIPTOR d = plain;
    struct wire_array_shape s;

    cr_assert(wire_array_shape(&d, &s));
    cr_expect(s.row_bytes == 800 && s.rows == 50 && s.slices == 1 && s.element_bytes == 8);
    d.Height = 0;
    d.Depth = 7; /* one-dimensional layers */
    cr_assert(wire_array_shape(&d, &s));
    cr_expect(s.rows == 1 && s.slices == 7);
    d = plain;
    d.Format = CU_AD_FORMAT_BC1_UNORM; /* blocks of 4 x 4 */
    cr_assert(wire_array_shape(&d, &s));
    cr_expect(s.row_bytes == 25 * 8 && s.rows == 13 && s.element_bytes == 8);
    d.Format = CU_AD_FORMAT_NV12;
    cr_expect_not(wire_array_shape(&d, &s));
}

Test(array, levels_are_charged_until_they_are_one_texel)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {256, 256, 0, CU_AD_FORMAT_FLOAT, 1, 0};
    uint64_t all = 0;

    cr_expect_eq(wire_array_bytes(&d, 1), 256 * 256 * 4);
    for (unsigned n = 256; n > 0; n /= 2)
        all += n * n * 4;
    cr_expect_eq(wire_array_bytes(&d, 9), (all + 65535) / 65536 * 65536);
    d.Depth = 4;
    d.Flags = CUDA_ARRAY3D_LAYERED; /* layers do not get fewer */
    cr_expect_eq(wire_array_bytes(&d, 2), 4 * (256 * 256 + 128 * 128) * 4);
    d.Flags = 0;
    cr_expect_eq(wire_array_bytes(&d, 2), 4 * (4 * 256 * 256 + 2 * 128 * 128));
    d.Flags = CUDA_ARRAY3D_SPARSE;
    cr_expect_eq(wire_array_bytes(&d, 2), 0);
}

Test(array, nothing_that_a_peer_says_wraps)
{
    CUDA_ARRAY3D_DESCRIPTOR d = {UINT64_MAX, UINT64_MAX, UINT64_MAX, CU_AD_FORMAT_FLOAT, 4, 0};
    struct wire_array_shape s;

    cr_expect_not(wire_array_shape(&d, &s));
    cr_expect_eq(wire_array_bytes(&d, UINT32_MAX), UINT64_MAX);
    d = (CUDA_ARRAY3D_DESCRIPTOR){1ull << 32, 1ull << 31, 0, CU_AD_FORMAT_FLOAT, 4, 0};
    cr_expect_not(wire_array_shape(&d, &s));
    cr_expect_eq(wire_array_bytes(&d, 1), UINT64_MAX);
    d.Format = (CUarray_format)12345;
    cr_expect_not(wire_array_shape(&d, &s));
    d = (CUDA_ARRAY3D_DESCRIPTOR){1ull << 32, 1ull << 29, 0, CU_AD_FORMAT_FLOAT, 4, 0};
    d.NumChannels = UINT32_MAX;
    cr_expect_not(wire_array_shape(&d, &s));
    d = plain;
    d.NumChannels = 0; /* not of a format that has them */
    cr_expect(!wire_array_shape(&d, &s) || s.element_bytes > 0);
}
