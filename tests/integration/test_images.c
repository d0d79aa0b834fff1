/* tests/integration/test_images.c -- images that were sent once are offered by their hash */
#include "tests/support/tenants.h"

#include "protocol/wire/kernel_table.h"
#include "protocol/wire/negotiate.h"
#include "transport/tls/sha256.h"

#include <criterion/criterion.h>

#include <string.h>

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                          ".visible .entry nothing()\n{\nret;\n}\n";

static void
offer(struct test_client *c, uint32_t upload, const void *image, size_t len)
{
    struct wire_gpOffer_args args = {.upload = upload, .total = len};
    uint8_t digest[TP_SHA256_BYTES];

    cr_assert_eq(tp_sha256(image, len, digest), GP_OK);
    memcpy(args.sha256, digest, sizeof(args.sha256));
    wire_put_gpOffer_args(test_client_add(c, WIRE_CALL_gpOffer, wire_size_gpOffer_args(&args)),
                          &args);
}

static int
load(struct test_client *c, uint32_t upload, uint32_t id)
{
    TEST_ADD(c, cuModuleLoadDataEx, .module = ID(id), .upload = upload);
    return test_client_call(c);
}

Test(images, are_sent_once_by_each_tenant)
{
    struct test_server server = test_tenants_start(NULL);
    struct test_client c;

    test_tenants_open(&c, &server, "alice");
    offer(&c, 5, ptx, sizeof(ptx));
    cr_assert_eq(load(&c, 5, 3), CUDA_ERROR_NOT_FOUND);
    TEST_ADD(&c, gpUpload, .upload = 5, .total = sizeof(ptx), .data = (const uint8_t *)ptx,
             .data_len = sizeof(ptx));
    cr_assert_eq(load(&c, 5, 3), CUDA_SUCCESS);
    test_client_close(&c);

    test_tenants_open(&c, &server, "alice");
    offer(&c, 1, ptx, sizeof(ptx));
    cr_assert_eq(load(&c, 1, 3), CUDA_SUCCESS, "it was sent before");
    cr_assert_eq(test_client_kernel(&c, "nothing"), 0);
    offer(&c, 2, ptx, sizeof(ptx) - 1);
    cr_assert_eq(load(&c, 2, 4), CUDA_ERROR_NOT_FOUND);
    test_client_close(&c);

    test_tenants_open(&c, &server, "bob");
    offer(&c, 1, ptx, sizeof(ptx));
    cr_assert_eq(load(&c, 1, 3), CUDA_ERROR_NOT_FOUND, "what alice sent is none of bob's business");
    test_client_close(&c);
    test_tenants_stop(&server);
}

/* -- libraries --------------------------------------------------------------------------------- */

static void
start_promised(struct test_client *c, const struct test_server *server)
{
    cr_assert(test_client_open_with(c, server->url[0], NULL, WIRE_FEATURE_PROMISE), "%s",
              c->refused.reason);
    test_client_begin(c);
    TEST_ADD(c, gpBarrier, 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS); /* what it says at the beginning is here */
}

/* How many libraries the server has foretold; all must be ptx. */
static int
foretold(const struct test_client *c)
{
    const uint8_t *row = c->notices.data, *body;
    size_t left = c->notices.len, len;
    struct wire_record record;
    uint8_t digest[TP_SHA256_BYTES];
    bool bad = false;
    int count = 0;

    cr_assert_eq(tp_sha256(ptx, sizeof(ptx), digest), GP_OK);
    while (wire_next_record(&row, &left, &record, &body, &len, &bad)) {
        struct wire_gpNoticeLibrary_args args;

        if (record.call != WIRE_CALL_gpNoticeLibrary)
            continue;
        cr_assert(wire_get_gpNoticeLibrary_args(body, len, &args));
        cr_assert_eq(args.total, sizeof(ptx));
        cr_assert_eq(memcmp(args.sha256, digest, sizeof(digest)), 0);
        cr_assert_gt(args.table_len, 0);
        count++;
    }
    return count;
}

static void
adopt(struct test_client *c, uint32_t id, const void *image, size_t len)
{
    struct wire_gpLibraryAdopt_args args = {.library = ID(id), .total = len};
    uint8_t digest[TP_SHA256_BYTES];

    cr_assert_eq(tp_sha256(image, len, digest), GP_OK);
    memcpy(args.sha256, digest, sizeof(args.sha256));
    wire_put_gpLibraryAdopt_args(
        test_client_add(c, WIRE_CALL_gpLibraryAdopt, wire_size_gpLibraryAdopt_args(&args)), &args);
}

static int
launch(struct test_client *c, uint32_t id)
{
    TEST_ADD(c, cuLaunchKernelEx, .function = wire_function_id(true, ID(id), 0), .grid = {1, 1, 1},
             .block = {1, 1, 1});
    TEST_ADD(c, cuCtxSynchronize, 0);
    return test_client_call(c);
}

Test(images, of_libraries_are_foretold_to_the_next_session_of_the_program)
{
    struct test_server server = test_server_start(NULL);
    struct test_client c;

    start_promised(&c, &server);
    cr_assert_eq(foretold(&c), 0);
    adopt(&c, 3, ptx, sizeof(ptx));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE, "nobody has promised it");
    TEST_ADD(&c, gpUpload, .upload = 5, .total = sizeof(ptx), .data = (const uint8_t *)ptx,
             .data_len = sizeof(ptx));
    TEST_ADD(&c, cuLibraryLoadData, .library = ID(3), .upload = 5);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(launch(&c, 3), CUDA_SUCCESS);
    test_client_close(&c);

    for (int session = 0; session < 2; session++) { /* what was adopted is foretold again */
        start_promised(&c, &server);
        cr_assert_eq(foretold(&c), 1);
        adopt(&c, 4, ptx, sizeof(ptx));
        cr_assert_eq(launch(&c, 4), CUDA_SUCCESS);
        adopt(&c, 6, ptx, sizeof(ptx));
        cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE, "once");
        test_client_close(&c);
    }

    test_client_start(&c, server.url[0]); /* that cannot hear it */
    cr_assert_eq(foretold(&c), 0);
    test_client_close(&c);
    test_server_stop(&server);
}

/* A client says that its image is ptx. Who comes next and has ptx shall not be told otherwise. */
Test(images, of_another_name_foretell_nothing)
{
    static const char other[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                                ".visible .entry evilish()\n{\nret;\n}\n";
    struct test_server server = test_server_start(NULL);
    struct test_client liar, c;

    cr_assert_eq(sizeof(other), sizeof(ptx));
    start_promised(&liar, &server);
    offer(&liar, 5, ptx, sizeof(ptx));
    TEST_ADD(&liar, gpUpload, .upload = 5, .total = sizeof(other), .data = (const uint8_t *)other,
             .data_len = sizeof(other));
    TEST_ADD(&liar, cuLibraryLoadData, .library = ID(3), .upload = 5);
    cr_assert_eq(test_client_call(&liar), CUDA_SUCCESS, "it is its own business");

    start_promised(&c, &server);
    offer(&c, 5, ptx, sizeof(ptx));
    TEST_ADD(&c, gpUpload, .upload = 5, .total = sizeof(ptx), .data = (const uint8_t *)ptx,
             .data_len = sizeof(ptx));
    TEST_ADD(&c, cuLibraryLoadData, .library = ID(3), .upload = 5);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    test_client_close(&c);
    test_client_close(&liar); /* its word is the last */

    start_promised(&c, &server);
    cr_assert_eq(foretold(&c), 1);
    adopt(&c, 4, ptx, sizeof(ptx));
    cr_assert_eq(launch(&c, 4), CUDA_SUCCESS);
    test_client_close(&c);
    test_server_stop(&server);
}

Test(images, that_the_driver_refuses_are_not_kept)
{
    static const char bad[] =
        ".version 7.0\n.target sm_70\n.address_size 64\nthis is no statement;\n";
    struct test_server server = test_server_start(NULL);
    struct test_client c;

    for (int session = 0; session < 2; session++) {
        test_client_start(&c, server.url[0]);
        offer(&c, 5, bad, sizeof(bad));
        cr_assert_eq(load(&c, 5, 3), CUDA_ERROR_NOT_FOUND);
        TEST_ADD(&c, gpUpload, .upload = 5, .total = sizeof(bad), .data = (const uint8_t *)bad,
                 .data_len = sizeof(bad));
        cr_assert_eq(load(&c, 5, 3), CUDA_ERROR_INVALID_PTX);
        test_client_close(&c);
    }
    test_server_stop(&server);
}

Test(images, that_are_offered_wrongly_are_refused)
{
    const char *args[] = {"--image-cache-bytes=0", NULL};
    struct test_server server = test_server_start(args);
    struct test_client c;

    test_client_start(&c, server.url[0]);
    offer(&c, 1, ptx, sizeof(ptx));
    offer(&c, 1, ptx, sizeof(ptx)); /* twice the same upload */
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    /* More bytes than were offered. */
    TEST_ADD(&c, gpUpload, .upload = 1, .total = sizeof(ptx) + 1, .data = (const uint8_t *)ptx,
             .data_len = sizeof(ptx));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_INVALID_VALUE);
    for (uint32_t i = 0; i < 70; i++) /* more than may be on their way */
        offer(&c, 100 + i, ptx, sizeof(ptx));
    cr_assert_eq(test_client_deferred(&c), CUDA_ERROR_OUT_OF_MEMORY);
    test_client_close(&c);
    test_server_stop(&server);
}
