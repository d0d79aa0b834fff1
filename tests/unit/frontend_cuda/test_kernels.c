/* tests/unit/frontend_cuda/test_kernels.c -- tables of kernels as a server sends them */
#include "frontend/cuda/kernels.h"
#include "wire_calls.h"

#include <criterion/criterion.h>
#include <string.h>

static uint8_t table[4096];
static size_t table_len;

static void
add_row(uint32_t row, const char *name, uint32_t nparams, uint32_t bytes_each, uint32_t flags)
{
    struct wire_kernel_row r = {.row = row,
                                .flags = flags,
                                .nparams = nparams,
                                .name_len = (uint32_t)strlen(name),
                                .attribute_mask = 1};
    struct wire_kernel_param p = {.bytes = bytes_each};
    uint8_t *at = table + table_len;

    r.attributes[0] = 1000 + (int32_t)row;
    r.bytes = (uint32_t)WIRE_PAD(sizeof(r) + nparams * sizeof(p) + r.name_len + 1);
    memcpy(at, &r, sizeof(r));
    at += sizeof(r);
    for (uint32_t i = 0; i < nparams; i++, at += sizeof(p))
        memcpy(at, &p, sizeof(p));
    memcpy(at, name, r.name_len + 1);
    table_len += r.bytes;
}

static struct fe_object *
owner_new(void)
{
    struct fe_object *owner = fe_object_create(WIRE_HANDLE_MODULE, NULL);

    cr_assert_not_null(owner);
    return owner;
}

static void
setup(void)
{
    memset(table, 0, sizeof(table));
    table_len = 0;
    fe_slab_define(WIRE_HANDLE_FUNCTION, sizeof(struct fe_function), 1024);
    fe_slab_define(WIRE_HANDLE_KERNEL, sizeof(struct fe_function), 1024);
    fe_slab_define(WIRE_HANDLE_MODULE, sizeof(struct fe_module), 16);
}

TestSuite(kernels, .init = setup);

Test(kernels, each_is_found_by_its_name_and_knows_its_parameters)
{
    struct fe_object *owner = owner_new();
    struct fe_kernels *k;
    struct fe_function *f, *again;

    add_row(0, "zeta", 2, 8, WIRE_KERNEL_HAS_DETAILS);
    add_row(1, "alpha", 0, 0, WIRE_KERNEL_HAS_DETAILS);
    add_row(2, "mid", 3, 24, WIRE_KERNEL_HAS_DETAILS);
    cr_assert_eq(fe_kernels_create(table, table_len, WIRE_HANDLE_FUNCTION, owner->wire, owner, &k),
                 CUDA_SUCCESS);
    cr_expect_eq(fe_kernels_count(k), 3);
    cr_assert_eq(fe_kernels_by_name(k, "mid", &f), CUDA_SUCCESS);
    cr_expect_eq(f->param_bytes, 72);
    cr_expect_eq(f->attributes[0], 1002);
    cr_expect_eq(f->object.wire, wire_function_id(false, owner->wire, 2));
    cr_assert_eq(fe_kernels_by_name(k, "mid", &again), CUDA_SUCCESS);
    cr_expect_eq(f, again, "one handle for one function");
    cr_assert_eq(fe_kernels_at(k, 2, &again), CUDA_SUCCESS);
    cr_expect_eq(f, again);
    cr_expect_eq(fe_kernels_by_name(k, "mi", &f), CUDA_ERROR_NOT_FOUND);
    cr_expect_eq(fe_function_get(again), again);
    fe_kernels_destroy(k, NULL);
    cr_expect_null(fe_function_get(again), "a handle of an unloaded module");
}

Test(kernels, a_row_without_details_is_not_ready)
{
    struct fe_object *owner = owner_new();
    struct fe_kernels *k;
    struct fe_function *f;

    add_row(0, "late", 0, 0, 0);
    cr_assert_eq(fe_kernels_create(table, table_len, WIRE_HANDLE_KERNEL, owner->wire, owner, &k),
                 CUDA_SUCCESS);
    cr_assert_eq(fe_kernels_by_name(k, "late", &f), CUDA_SUCCESS);
    cr_expect_not(atomic_load(&f->ready));
    cr_expect(fe_kernels_of_library(k));
    fe_kernels_destroy(k, NULL);
}

Test(kernels, every_cut_of_a_table_is_refused)
{
    struct fe_object *owner = owner_new();
    struct fe_kernels *k = NULL;

    add_row(0, "one", 1, 8, WIRE_KERNEL_HAS_DETAILS);
    for (size_t len = 1; len < table_len; len++)
        cr_assert_neq(fe_kernels_create(table, len, WIRE_HANDLE_FUNCTION, owner->wire, owner, &k),
                      CUDA_SUCCESS, "%zu bytes", len);
    cr_assert_eq(fe_kernels_create(table, 0, WIRE_HANDLE_FUNCTION, owner->wire, owner, &k),
                 CUDA_SUCCESS);
    cr_expect_eq(fe_kernels_count(k), 0);
    fe_kernels_destroy(k, NULL);
}

Test(kernels, globals_are_remembered_for_each_activation_of_a_context)
{
    struct fe_context ctx = {.head.object.wire = 1ull << 32 | 1};
    struct fe_object *owner = owner_new();
    uint64_t address = 0, bytes = 0;
    struct fe_kernels *k;

    cr_assert_eq(fe_kernels_create(table, 0, WIRE_HANDLE_KERNEL, owner->wire, owner, &k), 0);
    cr_expect_not(fe_kernels_global_get(k, &ctx, "g", &address, &bytes));
    fe_kernels_global_put(k, &ctx, "g", 0x1000, 16);
    cr_expect(fe_kernels_global_get(k, &ctx, "g", &address, &bytes));
    cr_expect(address == 0x1000 && bytes == 16);
    ctx.head.object.wire += 1ull << 32; /* reset, retained again */
    cr_expect_not(fe_kernels_global_get(k, &ctx, "g", &address, &bytes));
    fe_kernels_destroy(k, NULL);
}

/* What launch.c relies on: with NULL the room for the values is the end of the arguments. */
Test(kernels, a_launch_leaves_room_for_its_values_at_the_end)
{
    struct wire_cuLaunchKernelEx_args args = {.function = 7, .params_len = 13}, got;
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PRIORITY};
    _Alignas(8) uint8_t bytes[512];
    size_t size;

    args.attributes = &attribute;
    args.attributes_len = 1;
    size = wire_size_cuLaunchKernelEx_args(&args);
    memset(bytes, 0xee, sizeof(bytes));
    wire_put_cuLaunchKernelEx_args(bytes, &args);
    memset(bytes + size - WIRE_PAD(13), 0x77, 13);
    cr_assert(wire_get_cuLaunchKernelEx_args(bytes, size, &got));
    cr_expect_eq(got.function, 7);
    cr_expect_eq(got.attributes_len, 1);
    cr_expect_eq(got.params_len, 13);
    for (int i = 0; i < 13; i++)
        cr_expect_eq(got.params[i], 0x77);
    for (size_t i = 13; i < WIRE_PAD(13); i++)
        cr_expect_eq(got.params[i], 0, "padding");
}
