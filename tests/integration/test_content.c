/* tests/integration/test_content.c -- what was copied to a device once is named by its hash */
#include "tests/support/tenants.h"

#include "protocol/wire/content.h"
#include "transport/tls/sha256.h"

#include <criterion/criterion.h>

#include <string.h>

#define BYTES   (WIRE_CONTENT_BYTES + 12345u) /* two chunks */
#define TRIES   200                           /* the keeper hashes what it was given meanwhile */
#define LIMIT   "--content-cache-bytes=64m"
#define HASHES  (2 * WIRE_CONTENT_HASH_BYTES)
#define BASE(c) ((c)->answer.device_range.base)

static uint8_t bytes[BYTES], hashes[HASHES];

static void
content_make(void)
{
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    cr_assert_eq(tp_sha256(bytes, WIRE_CONTENT_BYTES, hashes), GP_OK);
    cr_assert_eq(
        tp_sha256(bytes + WIRE_CONTENT_BYTES, BYTES - WIRE_CONTENT_BYTES, hashes + HASHES / 2),
        GP_OK);
}

static void
start(struct test_client *c, const struct test_server *server, const char *tenant)
{
    test_tenants_open(c, server, tenant);
    TEST_ADD(c, cuMemAlloc_v2, .address = BASE(c), .bytes = 2 * WIRE_CONTENT_BYTES, .device = 0);
    TEST_ADD(c, cuMemsetD8Async, .dst = BASE(c), .value = 0, .count = BYTES, .stream = 0);
}

static void
keep(struct test_client *c, size_t at, size_t len, const uint8_t *hash)
{
    struct wire_gpCopyKept_args args = {
        .dst = BASE(c) + at, .data = bytes + at, .data_len = (uint32_t)len};

    memcpy(args.sha256, hash, sizeof(args.sha256));
    wire_put_gpCopyKept_args(
        test_client_add(c, WIRE_CALL_gpCopyKept, wire_size_gpCopyKept_args(&args)), &args);
    test_client_send(c);
}

/* The server's answer to the names of both chunks. */
static uint64_t
missing(struct test_client *c)
{
    struct wire_gpCopyKnown_reply reply;

    TEST_ADD(c, gpCopyKnown, .dst = BASE(c), .bytes = BYTES, .digests = hashes,
             .digests_len = HASHES);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    cr_assert(wire_get_gpCopyKnown_reply(c->reply, c->reply_len, &reply));
    return reply.missing;
}

/* What is on the device. */
static bool
there(struct test_client *c)
{
    gp_buf_reset(&c->data);
    TEST_ADD(c, cuMemcpyDtoH_v2, .src = BASE(c), .bytes = BYTES, .data = 3, .stream = 0);
    cr_assert_eq(test_client_call(c), CUDA_SUCCESS);
    return c->data.len == BYTES && memcmp(c->data.data, bytes, BYTES) == 0;
}

static struct test_server
serve(const char *more)
{
    const char *const options[] = {LIMIT, more, NULL};

    content_make();
    return test_tenants_start_with(NULL, options);
}

static void
keep_all(struct test_client *c)
{
    keep(c, 0, WIRE_CONTENT_BYTES, hashes);
    keep(c, WIRE_CONTENT_BYTES, BYTES - WIRE_CONTENT_BYTES, hashes + HASHES / 2);
    cr_assert(there(c), "kept, and copied all the same");
    for (int i = 0; missing(c) != 0; i++)
        cr_assert_lt(i, TRIES);
}

Test(content, is_sent_once_by_each_tenant, .timeout = 60)
{
    struct test_server server = serve(NULL);
    struct test_client c;

    start(&c, &server, "alice");
    cr_assert_eq(missing(&c), 3);
    cr_assert_not(there(&c));
    keep_all(&c);
    test_client_close(&c);

    start(&c, &server, "alice");
    cr_assert_eq(missing(&c), 0);
    cr_assert(there(&c));
    test_client_close(&c);

    start(&c, &server, "bob");
    cr_assert_eq(missing(&c), 3, "what alice copies is none of bob's business");
    cr_assert_not(there(&c));
    test_client_close(&c);
    test_tenants_stop(&server);
}

Test(content, is_found_by_all_where_it_is_shared, .timeout = 60)
{
    struct test_server server = serve("--content-share");
    struct test_client c;

    start(&c, &server, "alice");
    keep_all(&c);
    test_client_close(&c);
    start(&c, &server, "bob");
    cr_assert_eq(missing(&c), 0);
    cr_assert(there(&c));
    test_client_close(&c);
    test_tenants_stop(&server);
}

/* Who lies about what it sends has it copied, and finds nothing under that name. */
Test(content, is_kept_under_its_own_name_only, .timeout = 60)
{
    struct test_server server = serve("--content-share");
    uint8_t wrong[WIRE_CONTENT_HASH_BYTES];
    struct test_client c;

    memcpy(wrong, hashes + HASHES / 2, sizeof(wrong));
    start(&c, &server, "alice");
    keep(&c, 0, WIRE_CONTENT_BYTES, wrong);
    keep(&c, WIRE_CONTENT_BYTES, BYTES - WIRE_CONTENT_BYTES, hashes);
    cr_assert(there(&c));
    cr_assert_eq(missing(&c), 3);
    test_client_close(&c);
    start(&c, &server, "bob");
    cr_assert_eq(missing(&c), 3);
    test_client_close(&c);
    test_tenants_stop(&server);
}

Test(content, that_does_not_fit_is_refused, .timeout = 60)
{
    struct test_server server = serve(NULL);
    struct test_client c;

    start(&c, &server, "alice");
    keep_all(&c);
    TEST_ADD(&c, gpCopyKnown, .dst = BASE(&c), .bytes = BYTES, .digests = hashes,
             .digests_len = HASHES - 1);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, gpCopyKnown, .dst = BASE(&c), .bytes = WIRE_CONTENT_BYTES, .digests = hashes,
             .digests_len = HASHES);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, gpCopyKnown, .dst = BASE(&c), .bytes = 2 * WIRE_CONTENT_BYTES + 1,
             .digests = hashes, .digests_len = HASHES);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, gpCopyKnown, .dst = BASE(&c), .bytes = 0, .digests = hashes, .digests_len = 0);
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, gpCopyKnown, .dst = BASE(&c) + WIRE_CONTENT_BYTES, .bytes = BYTES,
             .digests = hashes, .digests_len = HASHES);
    cr_assert_neq(test_client_call(&c), CUDA_SUCCESS, "beyond the memory there is");
    TEST_ADD(&c, gpCopyKnown, .dst = 64, .bytes = BYTES, .digests = hashes, .digests_len = HASHES);
    cr_assert_neq(test_client_call(&c), CUDA_SUCCESS);
    TEST_ADD(&c, gpCopyKnown, .dst = BASE(&c), .bytes = BYTES, .stream = ID(9), .digests = hashes,
             .digests_len = HASHES);
    cr_assert_neq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert(there(&c));
    test_client_close(&c);
    test_tenants_stop(&server);
}

Test(content, is_not_kept_unless_the_server_does, .timeout = 60)
{
    struct test_server server;
    struct test_client c;

    content_make();
    server = test_tenants_start(NULL);
    start(&c, &server, "alice");
    keep(&c, 0, WIRE_CONTENT_BYTES, hashes);
    keep(&c, WIRE_CONTENT_BYTES, BYTES - WIRE_CONTENT_BYTES, hashes + HASHES / 2);
    cr_assert(there(&c));
    cr_assert_eq(missing(&c), 3);
    test_client_close(&c);
    test_tenants_stop(&server);
}
