/* tests/unit/base/test_small.c -- buffers, clocks, random bytes, statuses */
#include "protocol/base/buf.h"
#include "protocol/base/clock.h"
#include "protocol/base/random.h"

#include "protocol/base/network.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <limits.h>
#include <string.h>

Test(buf, grows_and_keeps_what_was_in_it)
{
    struct gp_buf buf = {0};

    for (int i = 0; i < 10000; i++)
        gp_buf_append(&buf, &(uint8_t){(uint8_t)i}, 1);
    gp_buf_printf(&buf, "%d-%s", 42, "x");
    cr_assert_eq(gp_buf_status(&buf), GP_OK);
    cr_assert_eq(buf.len, 10004);
    for (int i = 0; i < 10000; i++)
        cr_assert_eq(buf.data[i], (uint8_t)i);
    cr_assert_eq(memcmp(buf.data + 10000, "42-x", 4), 0);
    gp_buf_consume(&buf, 10001);
    cr_assert_eq(buf.len, 3);
    cr_assert_eq(memcmp(buf.data, "2-x", 3), 0);
    gp_buf_fini(&buf);
}

Test(buf, limit_is_sticky_until_reset)
{
    struct gp_buf buf;

    gp_buf_init(&buf, 4);
    gp_buf_append_text(&buf, "1234");
    cr_assert_eq(gp_buf_status(&buf), GP_OK);
    gp_buf_append_text(&buf, "5");
    gp_buf_append_text(&buf, "");
    cr_assert_eq(gp_buf_status(&buf), GP_ERR_LIMIT);
    cr_assert_eq(buf.len, 4);
    cr_assert_null(gp_buf_reserve(&buf, SIZE_MAX));
    gp_buf_reset(&buf);
    gp_buf_append_text(&buf, "5");
    cr_assert_eq(gp_buf_status(&buf), GP_OK);
    gp_buf_fini(&buf);
}

Test(clock, deadlines_round_up_and_do_not_wrap)
{
    cr_assert_eq(gp_deadline_after(5, 10), 15);
    cr_assert_eq(gp_deadline_after(5, GP_FOREVER), GP_FOREVER);
    cr_assert_eq(gp_deadline_poll_ms(0, GP_FOREVER), -1);
    cr_assert_eq(gp_deadline_poll_ms(10, 10), 0);
    cr_assert_eq(gp_deadline_poll_ms(11, 10), 0);
    cr_assert_eq(gp_deadline_poll_ms(0, 1), 1, "never early");
    cr_assert_eq(gp_deadline_poll_ms(0, GP_NS_PER_MS), 1);
    cr_assert_eq(gp_deadline_poll_ms(0, GP_FOREVER - 1), INT_MAX);
}

Test(clock, times_of_the_c_library_are_seconds_and_the_rest)
{
    struct timespec ts = gp_timespec(3 * GP_NS_PER_S + 7);

    cr_assert(ts.tv_sec == 3 && ts.tv_nsec == 7);
    ts = gp_timespec(GP_NS_PER_S - 1);
    cr_assert(ts.tv_sec == 0 && ts.tv_nsec == 999999999);
    ts = gp_timespec(GP_FOREVER);
    cr_assert(ts.tv_sec == 18446744073 && ts.tv_nsec == 709551615);
}

Test(clock, fake_clock_moves_only_when_told)
{
    struct gp_clock_fake fake = GP_CLOCK_FAKE_INIT(100);

    cr_assert_eq(gp_clock_ns(&fake.clock), 100);
    gp_clock_fake_advance(&fake, 50);
    cr_assert_eq(gp_clock_ns(&fake.clock), 150);
    cr_assert_leq(gp_clock_ns(&gp_clock_monotonic), gp_now_ns());
}

Test(random, bytes_differ_and_compare)
{
    uint8_t a[32] = {0}, b[32] = {0};

    cr_assert_eq(gp_random_bytes(a, sizeof(a)), GP_OK);
    cr_assert_eq(gp_random_bytes(b, sizeof(b)), GP_OK);
    cr_assert_not(gp_secret_equal(a, b, sizeof(a)));
    memcpy(b, a, sizeof(a));
    cr_assert(gp_secret_equal(a, b, sizeof(a)));
    b[31] ^= 1;
    cr_assert_not(gp_secret_equal(a, b, sizeof(a)));
}

Test(status, every_code_has_words)
{
    for (int i = GP_OK; i <= GP_ERR_REFUSED; i++)
        cr_assert_str_neq(gp_status_text((enum gp_status)i), "unknown status");
    cr_assert_str_eq(gp_status_text((enum gp_status)1000), "unknown status");
}

static bool
has(const char *network, int family, const char *address)
{
    struct sockaddr_storage at = {.ss_family = (sa_family_t)family};
    struct gp_network n;
    uint8_t bytes[16];

    if (family == AF_INET)
        cr_assert_eq(inet_pton(family, address, &((struct sockaddr_in *)&at)->sin_addr), 1);
    else if (family == AF_INET6)
        cr_assert_eq(inet_pton(family, address, &((struct sockaddr_in6 *)&at)->sin6_addr), 1);
    return gp_address_bytes((const struct sockaddr *)&at, bytes) &&
           gp_network_parse(network, &n) == GP_OK && gp_network_has(&n, bytes);
}

Test(network, has_its_addresses_only)
{
    cr_assert(has("10.9.0.0/16", AF_INET, "10.9.255.1"));
    cr_assert_not(has("10.9.0.0/16", AF_INET, "10.8.255.1"));
    cr_assert(has("10.9.0.0/16", AF_INET6, "::ffff:10.9.1.1")); /* the same by another name */
    cr_assert(has("10.9.8.7/32", AF_INET, "10.9.8.7"));
    cr_assert_not(has("10.9.8.7/32", AF_INET, "10.9.8.6"));
    cr_assert(has("10.9.8.0/22", AF_INET, "10.9.11.6"));
    cr_assert_not(has("10.9.8.0/22", AF_INET, "10.9.12.6"));
    cr_assert(has("0.0.0.0/0", AF_INET, "1.2.3.4"));
    cr_assert_not(has("0.0.0.0/0", AF_INET6, "2001:db8::1"));
    cr_assert(has("2001:db8::/33", AF_INET6, "2001:db8:7fff::1"));
    cr_assert_not(has("2001:db8::/33", AF_INET6, "2001:db8:8000::1"));
    cr_assert_not(has("::/0", AF_UNIX, ""));
}

Test(network, is_refused_where_it_is_none)
{
    static const char *const bad[] = {"",   "10.9.0.0",    "10.9.0.0/33", "10.9.0.0/",
                                      "/8", "::1",         "::1/129",     "10.9.0/8",
                                      "*",  "10.9.0.0/-1", "x/8",         "10.9.0.0/8x"};
    struct gp_network n;

    for (size_t i = 0; i < GP_ARRAY_LEN(bad); i++)
        cr_assert_eq(gp_network_parse(bad[i], &n), GP_ERR_INVALID, "%s", bad[i]);
}
