/* tests/unit/frontend_cuda/test_geometry.c -- shapes of 2D and 3D copies */
#include "frontend/cuda/geometry.h"

#include <criterion/criterion.h>
#include <string.h>

Test(geometry, a_2d_copy_of_a_rectangle_lands_where_it_should)
{
    uint8_t src[10][32], dst[12][40];
    struct fe_copy copy;
    CUDA_MEMCPY2D desc = {
        .srcMemoryType = CU_MEMORYTYPE_HOST,
        .srcHost = src,
        .srcPitch = 32,
        .srcXInBytes = 5,
        .srcY = 2,
        .dstMemoryType = CU_MEMORYTYPE_HOST,
        .dstHost = dst,
        .dstPitch = 40,
        .dstXInBytes = 7,
        .dstY = 3,
        .WidthInBytes = 11,
        .Height = 6,
    };

    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 32; x++)
            src[y][x] = (uint8_t)(y * 32 + x + 1);
    memset(dst, 0, sizeof(dst));
    cr_assert_eq(fe_copy_from_2d(&desc, &copy), CUDA_SUCCESS);
    fe_copy_host(&copy);
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 40; x++) {
            bool inside = y >= 3 && y < 9 && x >= 7 && x < 18;

            cr_assert_eq(dst[y][x], inside ? src[y - 1][x - 2] : 0);
        }
}

Test(geometry, gathered_and_scattered_in_pieces_of_any_length_a_3d_copy_is_whole)
{
    static uint8_t src[4][6][16], dst[5][7][24], packed[2 * 3 * 9];
    struct fe_copy copy;
    CUDA_MEMCPY3D desc = {
        .srcMemoryType = CU_MEMORYTYPE_HOST,
        .srcHost = src,
        .srcPitch = 16,
        .srcHeight = 6,
        .srcXInBytes = 1,
        .srcY = 2,
        .srcZ = 1,
        .dstMemoryType = CU_MEMORYTYPE_HOST,
        .dstHost = dst,
        .dstPitch = 24,
        .dstHeight = 7,
        .dstXInBytes = 3,
        .dstY = 1,
        .dstZ = 2,
        .WidthInBytes = 9,
        .Height = 3,
        .Depth = 2,
    };

    for (size_t i = 0; i < sizeof(src); i++)
        ((uint8_t *)src)[i] = (uint8_t)(i * 7 + 1);
    cr_assert_eq(fe_copy_from_3d(&desc, &copy), CUDA_SUCCESS);
    cr_assert_eq(fe_shape_bytes(&copy.shape), sizeof(packed));
    fe_gather(packed, &copy.src, &copy.shape);
    for (size_t piece = 1; piece < sizeof(packed); piece++) {
        memset(dst, 0, sizeof(dst));
        for (size_t at = 0; at < sizeof(packed); at += piece)
            fe_scatter(&copy.dst, &copy.shape, at, packed + at,
                       sizeof(packed) - at < piece ? sizeof(packed) - at : piece);
        for (int z = 0; z < 2; z++)
            for (int y = 0; y < 3; y++)
                cr_assert_eq(memcmp(&dst[z + 2][y + 1][3], &src[z + 1][y + 2][1], 9), 0);
    }
}

Test(geometry, what_the_driver_refuses_is_refused)
{
    CUDA_MEMCPY2D good =
                      {
                          .srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcPitch = 64,
                          .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                          .dstPitch = 64,
                          .WidthInBytes = 60,
                          .Height = 4,
                      },
                  bad;
    struct fe_copy copy;

    cr_expect_eq(fe_copy_from_2d(&good, &copy), CUDA_SUCCESS);
    cr_expect_eq(fe_copy_from_2d(NULL, &copy), CUDA_ERROR_INVALID_VALUE);
    bad = good;
    bad.srcPitch = 59;
    cr_expect_eq(fe_copy_from_2d(&bad, &copy), CUDA_ERROR_INVALID_VALUE);
    bad = good;
    bad.dstXInBytes = 5;
    cr_expect_eq(fe_copy_from_2d(&bad, &copy), CUDA_ERROR_INVALID_VALUE);
    bad = good;
    bad.srcMemoryType = (CUmemorytype)77;
    cr_expect_eq(fe_copy_from_2d(&bad, &copy), CUDA_ERROR_INVALID_VALUE);
    bad = good;
    bad.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    cr_expect_eq(fe_copy_from_2d(&bad, &copy), CUDA_SUCCESS); /* what it holds is asked later */
    bad = good;
    bad.Height = SIZE_MAX;
    cr_expect_eq(fe_copy_from_2d(&bad, &copy), CUDA_ERROR_INVALID_VALUE);
    bad = good;
    bad.Height = 0;
    bad.srcPitch = 0;
    cr_expect_eq(fe_copy_from_2d(&bad, &copy), CUDA_SUCCESS);
    cr_expect(fe_shape_empty(&copy.shape));
}

Test(geometry, the_form_that_is_sent_means_the_same)
{
    struct fe_copy copy, again;
    CUDA_MEMCPY3D wire, desc = {
                            .srcMemoryType = CU_MEMORYTYPE_DEVICE,
                            .srcDevice = 0x10000,
                            .srcPitch = 128,
                            .srcHeight = 10,
                            .srcXInBytes = 4,
                            .srcY = 2,
                            .srcZ = 3,
                            .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                            .dstDevice = 0x90000,
                            .dstPitch = 256,
                            .dstHeight = 5,
                            .dstZ = 1,
                            .WidthInBytes = 100,
                            .Height = 4,
                            .Depth = 3,
                        };

    cr_assert_eq(fe_copy_from_3d(&desc, &copy), CUDA_SUCCESS);
    fe_copy_to_3d(&copy, &wire);
    cr_assert_eq(fe_copy_from_3d(&wire, &again), CUDA_SUCCESS);
    cr_expect_eq(copy.src.base, 0x10000 + (3 * 10 + 2) * 128 + 4);
    cr_expect_eq(memcmp(&copy, &again, sizeof(copy)), 0);
}

Test(geometry, one_plane_needs_no_height)
{
    struct fe_copy copy;
    CUDA_MEMCPY3D desc = {
        .srcMemoryType = CU_MEMORYTYPE_HOST,
        .srcHost = (void *)0x1000,
        .srcPitch = 64,
        .dstMemoryType = CU_MEMORYTYPE_ARRAY,
        .dstArray = (CUarray)(uintptr_t)0x1230,
        .WidthInBytes = 64,
        .Height = 4,
        .Depth = 1,
    };

    cr_expect_eq(fe_copy_from_3d(&desc, &copy), CUDA_SUCCESS); /* as cudaMemcpy2DToArray asks */
    desc.Depth = 2;
    cr_expect_eq(fe_copy_from_3d(&desc, &copy), CUDA_ERROR_INVALID_VALUE);
}

Test(geometry, a_box_in_an_array_is_named_by_its_corner)
{
    struct fe_copy copy;
    CUDA_MEMCPY3D wire, desc = {
                            .srcMemoryType = CU_MEMORYTYPE_ARRAY,
                            .srcArray = (CUarray)(uintptr_t)0x1230,
                            .srcXInBytes = 4,
                            .srcY = 2,
                            .srcZ = 3,
                            .dstMemoryType = CU_MEMORYTYPE_HOST,
                            .dstHost = (void *)0x90000,
                            .dstPitch = 256,
                            .dstHeight = 5,
                            .WidthInBytes = 100,
                            .Height = 4,
                            .Depth = 3,
                        };
    struct fe_side at;

    cr_assert_eq(fe_copy_from_3d(&desc, &copy), CUDA_SUCCESS);
    cr_expect_eq(copy.src.base, 0x1230);
    at = fe_side_at(&copy.src, 1, 2);
    cr_expect(at.x == 4 && at.y == 4 && at.z == 4 && at.base == 0x1230);
    copy.src.array_wire = 7;
    fe_copy_to_3d(&copy, &wire);
    cr_expect_eq((uintptr_t)wire.srcArray, 7); /* never a pointer of this process */
    cr_expect(wire.srcXInBytes == 4 && wire.srcY == 2 && wire.srcZ == 3);
}

Test(geometry, packed_sides_are_recognised)
{
    struct fe_shape shape = {64, 4, 2};
    struct fe_side packed = {.pitch = 64, .slice = 256}, gaps = {.pitch = 65, .slice = 260};

    cr_expect(fe_side_packed(&packed, &shape));
    cr_expect_not(fe_side_packed(&gaps, &shape));
}
