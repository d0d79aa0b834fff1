/* tests/unit/frontend_cuda/test_check.c -- what a launch is refused for, and how values travel */
#include "frontend/cuda/check.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct fe_launch_limits limits = {
    .grid = {0x7fffffff, 65535, 65535},
    .block = {1024, 1024, 64},
    .block_threads = 1024,
    .multiprocessors = 4,
};

static CUresult
check(uint32_t gx, uint32_t gy, uint32_t bx, uint32_t by, uint32_t bz, uint32_t shared)
{
    int32_t attributes[WIRE_KERNEL_ATTRIBUTES] = {0};
    struct fe_launch_shape shape = {{gx, gy, 1}, {bx, by, bz}, shared};

    attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = 640;
    attributes[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = 48 << 10;
    return fe_launch_check(&limits, attributes,
                           1u << CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK |
                               1u << CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                           &shape);
}

Test(check, each_limit_has_its_code)
{
    cr_expect_eq(check(1, 1, 640, 1, 1, 48 << 10), CUDA_SUCCESS);
    cr_expect_eq(check(0, 1, 1, 1, 1, 0), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(check(1, 65536, 1, 1, 1, 0), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(check(0x7fffffff, 1, 1, 1, 1, 0), CUDA_SUCCESS);
    cr_expect_eq(check(1, 1, 0, 1, 1, 0), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(check(1, 1, 1, 1, 65, 0), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(check(1, 1, 32, 33, 1, 0), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(check(1, 1, 1024, 1024, 64, 0), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(check(1, 1, 1, 1, 1, (48 << 10) + 1), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(check(1, 1, 641, 1, 1, 0), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
}

Test(check, values_are_packed_without_gaps)
{
    const struct wire_kernel_param params[] = {{0, 1}, {8, 8}, {16, 4}, {20, 2}, {32, 24}};
    uint8_t byte = 0x11, out[39], want[39];
    uint64_t word = 0x2222222222222222;
    uint32_t half = 0x33333333;
    uint16_t quarter = 0x4444;
    uint8_t big[24];
    void *values[] = {&byte, &word, &half, &quarter, big};

    memset(big, 0x55, sizeof(big));
    memset(want, 0x11, 1);
    memset(want + 1, 0x22, 8);
    memset(want + 9, 0x33, 4);
    memset(want + 13, 0x44, 2);
    memset(want + 15, 0x55, 24);
    cr_assert_eq(fe_params_bytes(params, 5), sizeof(out));
    fe_params_pack(out, params, 5, values);
    cr_expect_eq(memcmp(out, want, sizeof(out)), 0);
}

Test(check, the_extra_form_needs_a_buffer_and_its_size)
{
    char buffer[16];
    size_t size = sizeof(buffer), got = 0, large = 1 << 20;
    const void *at = NULL;
    void *good[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                    CU_LAUNCH_PARAM_END};
    void *swapped[] = {CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_BUFFER_POINTER, buffer,
                       CU_LAUNCH_PARAM_END};
    void *half[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_END};
    void *over[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &large,
                    CU_LAUNCH_PARAM_END};
    void *odd[] = {(void *)7, buffer, CU_LAUNCH_PARAM_END};

    cr_expect_eq(fe_params_extra(good, 32764, &at, &got), CUDA_SUCCESS);
    cr_expect_eq(at, buffer);
    cr_expect_eq(got, sizeof(buffer));
    cr_expect_eq(fe_params_extra(swapped, 32764, &at, &got), CUDA_SUCCESS);
    cr_expect_eq(fe_params_extra(half, 32764, &at, &got), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(fe_params_extra(over, 32764, &at, &got), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(fe_params_extra(odd, 32764, &at, &got), CUDA_ERROR_INVALID_VALUE);
}
