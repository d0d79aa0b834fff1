/* tests/unit/base/test_parse.c -- numbers, sizes, times, URLs */
#include "protocol/base/parse.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"

#include <criterion/criterion.h>
#include <string.h>

struct pair {
    const char *text;
    uint64_t value;
};

Test(parse, sizes_are_read_in_powers_of_1024)
{
    static const struct pair good[] = {
        {"0", 0},
        {"512", 512},
        {"512m", 512ull << 20},
        {"1.5g", 3ull << 29},
        {"4KiB", 4096},
        {"2T", 2ull << 40},
        {"7b", 7},
        {"64kb", 65536},
        {"0.5k", 512},
        {"16777215t", 16777215ull << 40},
        {"18446744073709551615", UINT64_MAX},
    };
    static const char *const bad[] = {"",
                                      "m",
                                      "-1",
                                      "1x",
                                      "1 m",
                                      " 1",
                                      "1.m",
                                      "1..5",
                                      "0x10",
                                      "1mib ",
                                      "16777216t",
                                      "18446744073709551616",
                                      "999999999999999999999999"};
    uint64_t v;

    for (size_t i = 0; i < GP_ARRAY_LEN(good); i++) {
        cr_assert_eq(gp_parse_bytes(good[i].text, &v), GP_OK, "%s", good[i].text);
        cr_assert_eq(v, good[i].value, "%s gives %lu", good[i].text, v);
    }
    for (size_t i = 0; i < GP_ARRAY_LEN(bad); i++)
        cr_assert_eq(gp_parse_bytes(bad[i], &v), GP_ERR_INVALID, "\"%s\"", bad[i]);
}

Test(parse, times_are_read_as_nanoseconds)
{
    static const struct pair good[] = {
        {"20ms", 20000000}, {"1.5s", 1500000000}, {"2m", 120000000000}, {"3h", 10800000000000},
        {"250us", 250000},  {"10ns", 10},         {"5", 5000000000},    {"0", 0},
    };
    static const char *const bad[] = {"", "ms", "20 ms", "20MS", "1d", "-5s", "99999999999h"};
    uint64_t v;

    for (size_t i = 0; i < GP_ARRAY_LEN(good); i++) {
        cr_assert_eq(gp_parse_time(good[i].text, &v), GP_OK, "%s", good[i].text);
        cr_assert_eq(v, good[i].value, "%s gives %lu", good[i].text, v);
    }
    for (size_t i = 0; i < GP_ARRAY_LEN(bad); i++)
        cr_assert_eq(gp_parse_time(bad[i], &v), GP_ERR_INVALID, "\"%s\"", bad[i]);
}

Test(parse, formatted_values_read_back_as_themselves)
{
    static const uint64_t values[] = {0,  1,           1000, 1024,      3ull << 29,
                                      90, 60000000000, 1500, UINT64_MAX};
    char text[32];
    uint64_t v;

    for (size_t i = 0; i < GP_ARRAY_LEN(values); i++) {
        gp_format_bytes(values[i], text, sizeof(text));
        cr_assert(gp_parse_bytes(text, &v) == GP_OK && v == values[i], "%s", text);
        gp_format_time(values[i], text, sizeof(text));
        cr_assert(gp_parse_time(text, &v) == GP_OK && v == values[i], "%s", text);
    }
}

Test(parse, numbers_take_no_sign_blank_or_tail)
{
    static const char *const bad[] = {"",   "+1", "-1", " 1",
                                      "1 ", "0x", "1a", "18446744073709551616"};
    uint64_t v;

    cr_assert(gp_parse_u64("0x1267", &v) == GP_OK && v == 4711);
    cr_assert(gp_parse_u64("010", &v) == GP_OK && v == 10, "no octal");
    for (size_t i = 0; i < GP_ARRAY_LEN(bad); i++)
        cr_assert_eq(gp_parse_u64(bad[i], &v), GP_ERR_INVALID, "\"%s\"", bad[i]);
}

Test(url, good_ones_read_back_as_they_were)
{
    static const char *const good[] = {
        "tls://host:7470",        "tls://host",
        "tcp://127.0.0.1:0",      "tls://[::1]:7470",
        "tls://[fe80::1%eth0]:1", "tls://*:7470",
        "rdma2://a-b.c_d:65535",  "shm:///run/gpupool.sock",
        "shm://@gpupool",
    };
    char text[GP_URL_TEXT_MAX + 1];
    struct gp_url url;

    for (size_t i = 0; i < GP_ARRAY_LEN(good); i++) {
        cr_assert_eq(gp_url_parse(good[i], &url), GP_OK, "%s", good[i]);
        gp_url_format(&url, text, sizeof(text));
        cr_assert_str_eq(text, good[i]);
    }
    cr_assert_eq(gp_url_parse("tls://[::1]:7470", &url), GP_OK);
    cr_assert_str_eq(url.host, "::1");
    cr_assert_eq(url.port, 7470);
    cr_assert_not(url.is_path);
    cr_assert_eq(gp_url_parse("shm:///a:7470", &url), GP_OK);
    cr_assert_str_eq(url.host, "/a:7470");
    cr_assert(url.is_path && !url.has_port);
    memset(text, 'p', sizeof(text));
    memcpy(text, "shm:///", 7);
    text[6 + GP_URL_PATH_MAX] = '\0';
    cr_assert_eq(gp_url_parse(text, &url), GP_OK);
    text[6 + GP_URL_PATH_MAX] = 'p';
    text[7 + GP_URL_PATH_MAX] = '\0';
    cr_assert_eq(gp_url_parse(text, &url), GP_ERR_INVALID, "longer than a socket's path may be");
}

Test(url, bad_ones_are_refused)
{
    static const char *const bad[] = {
        "",
        "host:1",
        "tls:host",
        "://host",
        "tls://",
        "tls://:1",
        "tls://host:",
        "tls://host:x",
        "tls://host:65536",
        "tls://host:1/path",
        "TLS://host",
        "1tls://host",
        "tls://::1:7470",
        "tls://[::1",
        "tls://[]:1",
        "tls://[host]:1",
        "tls://ho st:1",
        "tls://host:-1",
        "tls://**:1",
        "tls://host\n:1",
        "averyveryverylongscheme://host",
        "shm:///",
        "shm://@",
        "shm:///with blank",
        "shm:///line\n",
    };
    struct gp_url url;

    for (size_t i = 0; i < GP_ARRAY_LEN(bad); i++)
        cr_assert_eq(gp_url_parse(bad[i], &url), GP_ERR_INVALID, "\"%s\"", bad[i]);
}

Test(url, lists_are_split_by_comma)
{
    struct gp_url urls[3];
    size_t n;

    cr_assert_eq(gp_url_list_parse("tls://a:1, tls://[::1]:2 ,tcp://c", urls, 3, &n), GP_OK);
    cr_assert_eq(n, 3);
    cr_assert_str_eq(urls[1].host, "::1");
    cr_assert_str_eq(urls[2].scheme, "tcp");
    cr_assert_eq(gp_url_list_parse("tls://a,tls://b", urls, 1, &n), GP_ERR_LIMIT);
    cr_assert_eq(gp_url_list_parse("", urls, 3, &n), GP_ERR_INVALID);
    cr_assert_eq(gp_url_list_parse("tls://a,", urls, 3, &n), GP_ERR_INVALID);
    cr_assert_eq(gp_url_list_parse("tls://a,,tls://b", urls, 3, &n), GP_ERR_INVALID);
}
