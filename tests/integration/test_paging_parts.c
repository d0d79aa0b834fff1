/* tests/integration/test_paging_parts.c -- what leaves of a session while the rest of it stays
 *
 * Copies and fills need on the device only what they name; kernels need all. What no kernel can
 * have been at since it was made or copied there goes first.
 */
#include "tests/support/paging.h"

#include "protocol/base/util.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <unistd.h>

static char option[96];
static const char *const path = option + sizeof("--admin-socket=") - 1;

static struct test_server
start(const char *other)
{
    snprintf(option, sizeof(option), "--admin-socket=/tmp/gpupool-parts-%d.sock", (int)getpid());
    test_tenants_share_device();
    setenv("GPUPOOL_SOFT_MEMORY", "40m", 1);
    return test_tenants_start_with(
        paging_two, (const char *const[]){"--oversubscribe=2.0", option, other, NULL});
}

struct seen {
    uint64_t away[2]; /* of alice and bob */
    uint64_t host;    /* what the host's memory has of it, in slabs */
};

static struct seen
look(void)
{
    struct wire_admin_answer answer;
    struct seen seen;

    paging_admin(path, &answer);
    seen.away[0] = answer.tenants[0].uses[0].paged_bytes;
    seen.away[1] = answer.tenants[1].uses[0].paged_bytes;
    seen.host = answer.server.paging_host_bytes;
    wire_admin_answer_fini(&answer);
    return seen;
}

static int
begin(struct test_client *c, const struct test_server *server, const char *name, unsigned pieces)
{
    int row;

    test_tenants_open(c, server, name);
    cr_assert_eq(paging_lease_all(c), MOST);
    row = paging_kernel(c);
    for (unsigned p = 0; p < pieces; p++)
        paging_take(c, p, PIECE);
    cr_assert_eq(test_client_deferred(c), CUDA_SUCCESS);
    return row;
}

static void
fill_all(struct test_client *c, unsigned from, unsigned to, unsigned base)
{
    for (unsigned p = from; p < to; p++)
        paging_fill(c, p, PIECE, base + p);
    cr_assert_eq(test_client_deferred(c), CUDA_SUCCESS);
}

static void
all_hold(struct test_client *c, unsigned from, unsigned to, unsigned base)
{
    for (unsigned p = from; p < to; p++)
        cr_assert(paging_holds(c, p, PIECE, base + p), "piece %u", p);
}

/* One writes and reads more than there is room for; the other, which works, has all it had. */
static void
copies_beside_kernels(const char *other)
{
    struct test_server server = start(other);
    struct test_client a, b;
    int row_a, row_b;

    row_a = begin(&a, &server, "alice", PIECES);
    fill_all(&a, 0, PIECES, 100);
    paging_launch(&a, row_a);
    row_b = begin(&b, &server, "bob", PIECES);
    fill_all(&b, 0, PIECES, 200);
    paging_launch(&a, row_a);
    all_hold(&b, 0, PIECES, 200);
    for (unsigned p = 1; p < PIECES; p++) /* within one: two do not fit beside alice's */
        TEST_ADD(&b, cuMemcpyDtoDAsync_v2, .dst = paging_at(&b, p) + PIECE / 2,
                 .src = paging_at(&b, p), .bytes = PIECE / 2);
    all_hold(&b, 0, PIECES, 200);
    if (other == NULL) { /* else alice is asked, where bob's cannot leave at once */
        cr_assert_eq(look().away[0], 0, "alice's went for bob's copies");
        cr_assert_eq(look().away[1], MOST - (DEVICE - MOST));
    }

    paging_launch(&b, row_b);
    cr_assert_eq(look().away[1], 0, "a kernel runs without all of its session's memory");
    cr_assert_eq(look().away[0], 2 * MOST - DEVICE);
    all_hold(&b, 0, PIECES, 200);
    paging_launch(&a, row_a);
    all_hold(&a, 0, PIECES, 100);
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

Test(paging_parts, who_only_copies_makes_room_of_its_own)
{
    copies_beside_kernels(NULL);
}

Test(paging_parts, no_byte_is_lost_where_steps_of_that_fail)
{
    copies_beside_kernels("--swap-fault=8");
}

/* What was written last, and no kernel ran since, is what is given to others. */
Test(paging_parts, what_no_kernel_saw_goes_first)
{
    struct test_server server = start(NULL);
    struct test_client a, b;
    int row;

    row = begin(&a, &server, "alice", PIECES);
    fill_all(&a, 0, 10, 100);
    paging_launch(&a, row);
    fill_all(&a, 10, PIECES, 100);
    row = begin(&b, &server, "bob", 10);
    paging_launch(&b, row);
    cr_assert_eq(look().away[0], 9 * PIECE);
    all_hold(&a, 0, 10, 100);
    cr_assert_eq(look().away[0], 9 * PIECE, "it was not what was written last");
    all_hold(&a, 10, PIECES, 100);
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}

/* Memory that was allocated only has nothing in it, unless a kernel has run, or runs still. */
Test(paging_parts, what_nothing_touched_leaves_without_a_copy)
{
    for (unsigned touched = 0; touched < 2; touched++) {
        struct test_server server = start(NULL);
        struct test_client a, b;
        int row;

        row = begin(&a, &server, "alice", PIECES);
        if (touched)
            paging_launch(&a, row);
        row = begin(&b, &server, "bob", PIECES);
        paging_launch(&b, row);
        cr_assert_eq(look().away[0], 2 * MOST - DEVICE);
        cr_assert_eq(look().host != 0, touched == 1, "%u: %llu", touched,
                     (unsigned long long)look().host);
        for (unsigned p = 0; p < PIECES; p++)
            cr_assert(paging_holds(&a, p, PIECE, 0));
        test_client_close(&a);
        test_client_close(&b);
        test_tenants_stop(&server);
    }
}

/* Addresses and lengths of no sense are an error as ever, also while something is away. */
Test(paging_parts, ranges_of_no_sense_are_refused)
{
    struct test_server server = start(NULL);
    struct test_client a, b;
    int row;

    row = begin(&a, &server, "alice", PIECES);
    paging_launch(&a, row);
    row = begin(&b, &server, "bob", PIECES);
    fill_all(&b, 0, PIECES, 200);
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t counts[] = {UINT64_MAX, UINT64_MAX / 4, 1ull << 40, 2 * PIECE};

        TEST_ADD(&b, cuMemsetD32Async, .dst = paging_at(&b, 3), .value = 1, .count = counts[i]);
        cr_assert_eq(test_client_deferred(&b), CUDA_ERROR_INVALID_VALUE);
        TEST_ADD(&b, cuMemcpyDtoDAsync_v2, .dst = paging_at(&b, 3), .src = paging_at(&b, 4),
                 .bytes = counts[i]);
        cr_assert_eq(test_client_deferred(&b), CUDA_ERROR_INVALID_VALUE);
    }
    all_hold(&b, 0, PIECES, 200);
    test_client_close(&a);
    test_client_close(&b);
    test_tenants_stop(&server);
}
