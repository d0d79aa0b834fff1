/* tests/unit/dev/test_cudart.c -- what a libcuda answers to NVIDIA's runtime */
#include "protocol/base/util.h"
#include "protocol/cudart/errors.h"
#include "protocol/cudart/export_tables.h"
#include "protocol/cudart/md2.h"
#include "protocol/cudart/proc_address.h"
#include "protocol/cudart/proc_table.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void
fn_v1(void)
{
}

static void
fn_v2(void)
{
}

static void
fn_v2_twin(void)
{
}

static void
fn_other(void)
{
}

const struct gp_proc gp_proc_table[] = {
    {"cuAlpha", 2000, "cuAlpha", fn_v1, NULL},
    {"cuAlpha", 3020, "cuAlpha_v2", fn_v2, fn_v2_twin},
    {"cuBeta", 12000, "cuBeta", fn_other, NULL},
};
const size_t gp_proc_count = GP_ARRAY_LEN(gp_proc_table);

static void *
address_of(void (*fn)(void))
{
    void *p;

    memcpy(&p, &fn, sizeof(p));
    return p;
}

Test(proc_address, the_newest_abi_at_or_before_the_version_is_returned)
{
    CUdriverProcAddressQueryResult st;
    void *p;

    cr_assert_eq(gp_cudart_proc_address("cuAlpha", &p, 3010, 0, &st, 13000), CUDA_SUCCESS);
    cr_assert_eq(p, address_of(fn_v1));
    cr_assert_eq(gp_cudart_proc_address("cuAlpha", &p, 3020, 0, NULL, 13000), CUDA_SUCCESS);
    cr_assert_eq(p, address_of(fn_v2));
    cr_assert_eq(gp_cudart_proc_address("cuAlpha", &p, 13000, 2, &st, 13000), CUDA_SUCCESS);
    cr_assert_eq(p, address_of(fn_v2_twin));
    cr_assert_eq(gp_cudart_proc_address("cuBeta", &p, 13000, 2, &st, 13000), CUDA_SUCCESS);
    cr_assert_eq(p, address_of(fn_other), "without a twin the plain function is returned");
}

Test(proc_address, unknown_and_young_symbols_say_why)
{
    CUdriverProcAddressQueryResult st;
    void *p = &st;

    cr_assert_eq(gp_cudart_proc_address("cuGamma", &p, 13000, 0, &st, 13000), CUDA_SUCCESS);
    cr_assert_null(p);
    cr_assert_eq(st, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    cr_assert_eq(gp_cudart_proc_address("cuBeta", &p, 11080, 0, &st, 13000), CUDA_SUCCESS);
    cr_assert_null(p);
    cr_assert_eq(st, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    cr_assert_eq(gp_cudart_proc_address("", &p, 0, 0, NULL, 13000), CUDA_ERROR_NOT_FOUND);
    cr_assert_eq(gp_cudart_proc_address("cuBeta", &p, 13010, 0, &st, 13000),
                 CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(gp_cudart_proc_address("cuBeta", &p, 12000, 8, &st, 13000),
                 CUDA_ERROR_INVALID_VALUE);
}

Test(md2, agrees_with_the_vectors_of_rfc_1319)
{
    static const char *const rows[][2] = {
        {"", "8350e5a3e24c153df2275c9f80692773"},
        {"a", "32ec01ec4a6dac72c0ab96fb34c0b5d1"},
        {"abc", "da853b0d3f88d99b30283a69e6ded6bb"},
        {"message digest", "ab4f496bfb2a530b219ff33031fe06b0"},
        {"abcdefghijklmnopqrstuvwxyz", "4e8ddff3650292ab5a4108c3aa47940b"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "d5976f79d83d3a0dc9806c3c66f3efd8"},
    };

    for (size_t i = 0; i < GP_ARRAY_LEN(rows); i++) {
        uint8_t digest[GP_MD2_BYTES];
        char text[2 * GP_MD2_BYTES + 1];
        struct gp_md2 md;

        gp_md2_init(&md);
        gp_md2_add(&md, rows[i][0], strlen(rows[i][0]));
        gp_md2_finish(&md, digest);
        for (size_t j = 0; j < GP_MD2_BYTES; j++)
            snprintf(text + 2 * j, 3, "%02x", digest[j]);
        cr_assert_str_eq(text, rows[i][1], "of \"%s\"", rows[i][0]);
    }
}

static CUcontext current;
static int dtor_calls;

static CUcontext
op_current(void)
{
    return current;
}

static const struct gp_cudart_ops test_ops = {.current_ctx = op_current};

static void
count_dtor(CUcontext ctx, void *key, void *value)
{
    (void)ctx;
    (void)key;
    (void)value;
    dtor_calls++;
}

Test(storage, values_belong_to_a_context_and_go_with_it)
{
    CUcontext a = (CUcontext)(uintptr_t)0x1000, b = (CUcontext)(uintptr_t)0x2000;
    int k1, k2, value;
    void *got = NULL;

    gp_cudart_init(&test_ops);
    cr_assert_eq(gp_cudart_storage_get(&got, NULL, &k1), CUDA_ERROR_INVALID_CONTEXT);
    cr_assert_eq(gp_cudart_storage_put(a, &k1, &value, count_dtor), CUDA_SUCCESS);
    cr_assert_eq(gp_cudart_storage_get(&got, b, &k1), CUDA_ERROR_INVALID_HANDLE);
    cr_assert_eq(gp_cudart_storage_get(&got, a, &k2), CUDA_ERROR_INVALID_HANDLE);
    current = a;
    cr_assert_eq(gp_cudart_storage_get(&got, NULL, &k1), CUDA_SUCCESS);
    cr_assert_eq(got, &value);
    cr_assert_eq(gp_cudart_storage_put(a, &k2, &k2, count_dtor), CUDA_SUCCESS);
    cr_assert_eq(gp_cudart_storage_put(b, &k2, &k1, count_dtor), CUDA_SUCCESS);
    cr_assert_eq(gp_cudart_storage_delete(a, &k1), CUDA_SUCCESS);
    gp_cudart_ctx_gone(a);
    cr_assert_eq(dtor_calls, 1, "only what was still stored with a");
    cr_assert_eq(gp_cudart_storage_get(&got, b, &k2), CUDA_SUCCESS);
    cr_assert_eq(got, &k1);
    gp_cudart_ctx_gone(b);
}

static void *
storage_reader(void *arg)
{
    CUcontext ctx = (CUcontext)(uintptr_t)0x3000;

    for (int i = 0; i < 20000; i++) {
        void *got = NULL;

        if (gp_cudart_storage_get(&got, ctx, arg) == CUDA_SUCCESS)
            cr_assert_eq(got, arg, "a value of another key was seen");
    }
    return NULL;
}

Test(storage, readers_never_see_a_torn_entry)
{
    CUcontext ctx = (CUcontext)(uintptr_t)0x3000;
    char keys[4];
    pthread_t threads[2];

    gp_cudart_init(&test_ops);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, storage_reader, &keys[i]), 0);
    for (int i = 0; i < 20000; i++) {
        char *key = &keys[i % 4];

        cr_assert_eq(gp_cudart_storage_put(ctx, key, key, NULL), CUDA_SUCCESS);
        cr_assert_eq(gp_cudart_storage_delete(ctx, key), CUDA_SUCCESS);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

Test(export_tables, tables_are_sized_and_unknown_ones_refused)
{
    static const uint8_t runtime[16] = {0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a,
                                        0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d, 0xf9};
    const void *table = NULL;
    CUuuid id;

    memcpy(id.bytes, runtime, sizeof(id.bytes));
    cr_assert_eq(gp_cudart_export_table(&table, &id), CUDA_SUCCESS);
    cr_assert_eq(*(const uintptr_t *)table, 13 * 8);
    for (int i = 1; i < 13; i++)
        cr_assert_neq(((const uintptr_t *)table)[i], 0, "slot %d", i);
    id.bytes[3]++;
    cr_assert_eq(gp_cudart_export_table(&table, &id), CUDA_ERROR_INVALID_VALUE);
    cr_assert_null(table);
}

Test(errors, every_code_has_a_name_and_a_text)
{
    const char *text;

    cr_assert_str_eq(gp_cuda_error_name(CUDA_ERROR_INVALID_VALUE), "CUDA_ERROR_INVALID_VALUE");
    cr_assert_str_eq(gp_cuda_error_text(CUDA_SUCCESS), "no error");
    cr_assert_str_eq(gp_cuda_error_name(CUDA_ERROR_UNKNOWN), "CUDA_ERROR_UNKNOWN");
    cr_assert_eq(gp_cuda_get_error_name((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
    cr_assert_null(text);
}
