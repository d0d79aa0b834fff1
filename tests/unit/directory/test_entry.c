/* tests/unit/directory/test_entry.c -- what is written to the directory, and what is read of it */
#include "protocol/directory/base64.h"
#include "protocol/directory/entry.h"
#include "protocol/directory/line.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(base64, there_and_back)
{
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"}};
    static const char *const bad[] = {"Z", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9*", "Zm 9"};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        GP_AUTO_BUF struct gp_buf to = {0}, back = {0};

        dir_base64_put(&to, pairs[i][0], strlen(pairs[i][0]));
        gp_buf_append(&to, "", 1);
        cr_expect_str_eq((char *)to.data, pairs[i][1]);
        cr_expect(dir_base64_take(pairs[i][1], &back));
        cr_expect(back.len == strlen(pairs[i][0]) &&
                  (back.len == 0 || memcmp(back.data, pairs[i][0], back.len) == 0));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        GP_AUTO_BUF struct gp_buf back = {0};

        cr_expect_not(dir_base64_take(bad[i], &back), "%s", bad[i]);
    }
}

static struct place_server
example(void)
{
    struct place_server s = {.name = "gpu/1 x",
                             .region = "home",
                             .zone = "z",
                             .urls = "tls://a:1,tls://b:2",
                             .cost = PLACE_CLOUD,
                             .sessions = 3,
                             .sessions_max = 9,
                             .opened = 70,
                             .gpu_count = 2};

    for (int i = 0; i < 2; i++) {
        s.gpus[i] = (struct place_gpu){.model = "h200",
                                       .total_bytes = 141ull << 30,
                                       .free_bytes = 7ull << 30,
                                       .share_free = 30,
                                       .sessions = 2,
                                       .healthy = i == 0};
        snprintf(s.gpus[i].uuid, sizeof(s.gpus[i].uuid), "GPU-%d", i);
    }
    return s;
}

Test(entry, comes_back)
{
    static const char *const labels[] = {"rack=7", "broken", NULL};
    struct dir_about about = {.version = "0.1", .driver = "soft", .labels = labels};
    struct place_server in = example(), *out;
    struct dir_servers servers = {0};
    char key[DIR_KEY_BYTES], *value;

    cr_assert(dir_server_key(&in, key));
    cr_assert_str_eq(key, "/gpupool/v1/server/home/gpu_1_x");
    value = dir_server_value(&in, &about);
    cr_assert_not_null(strstr(value, "\"rack\":\"7\""), "%s", value);
    cr_assert_eq(dir_servers_take(&servers, key, value), GP_OK);
    free(value);
    cr_assert_eq(servers.count, 1);
    out = &servers.list[0];
    cr_assert_str_eq(out->name, "gpu_1_x");
    cr_assert_str_eq(out->urls, in.urls);
    cr_assert(out->cost == PLACE_CLOUD && !out->draining && out->sessions == 3 &&
              out->sessions_max == 9 && out->opened == 70 && out->gpu_count == 2);
    cr_assert(out->gpus[0].healthy && !out->gpus[1].healthy);
    cr_assert(out->gpus[0].total_bytes == 141ull << 30 && out->gpus[0].free_bytes == 7ull << 30 &&
              out->gpus[0].share_free == 30);
    cr_assert_str_eq(out->gpus[1].uuid, "GPU-1");
    dir_servers_fini(&servers);
}

/* Whoever may write to the directory may write nonsense. */
Test(entry, nonsense_is_left_out_or_bounded)
{
    static const char *const bad[][2] = {
        {"/gpupool/v1/server/home", "{}"},
        {"/gpupool/v1/server//x", "{}"},
        {"/gpupool/v1/server/home/x/y", "{}"},
        {"/gpupool/v1/server/home/x", "{}"},
        {"/gpupool/v1/other/home/x", "{}"},
        {"/other", "{}"},
        {"/gpupool/v1/server/home/x", "[]"},
        {"/gpupool/v1/server/home/x", "{"},
        {"/gpupool/v1/server/home/x", "{\"urls\":\"\"}"},
    };
    GP_AUTO_BUF struct gp_buf many = {0};
    struct dir_servers servers = {0};
    char key[DIR_KEY_BYTES], large[1000];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(dir_servers_take(&servers, bad[i][0], bad[i][1]), GP_ERR_INVALID, "%s",
                     bad[i][0]);
    memset(large, 'a', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    snprintf(key, sizeof(key), "/gpupool/v1/server/home/%.300s", large);
    cr_assert_eq(dir_servers_take(&servers, key, "{}"), GP_ERR_INVALID);
    cr_assert_eq(servers.count, 0);
    cr_assert_eq(dir_servers_take(&servers, "/gpupool/v1/server/home/x",
                                  "{\"urls\":\"u\",\"sessions\":-4,\"state\":null,"
                                  "\"cost\":\"\\u0007\",\"gpus\":{\"a\":7}}"),
                 GP_OK);
    cr_assert(servers.list[0].draining && servers.list[0].sessions == 0 &&
              servers.list[0].gpu_count == 0);
    gp_buf_printf(&many, "{\"urls\":\"u\",\"gpus\":[7,null,[]");
    for (int i = 0; i < PLACE_GPUS_MAX; i++)
        gp_buf_printf(&many, ",{\"uuid\":\"GPU-%d\",\"total\":5,\"free\":99,\"share\":1000}", i);
    gp_buf_printf(&many, "]}");
    gp_buf_append(&many, "", 1);
    cr_assert_eq(dir_servers_take(&servers, "/gpupool/v1/server/home/y", (char *)many.data), GP_OK);
    cr_assert_eq(servers.list[1].gpu_count, PLACE_GPUS_MAX);
    cr_assert(servers.list[1].gpus[0].uuid[0] == '\0' && !servers.list[1].gpus[1].healthy);
    cr_assert_str_eq(servers.list[1].gpus[3].uuid, "GPU-0");
    cr_assert(servers.list[1].gpus[3].free_bytes == 5 && servers.list[1].gpus[3].share_free == 100);
    dir_servers_fini(&servers);
}

/* -- lines ----------------------------------------------------------------------------------- */

/* Of two who go to the same server each counts until that has opened its session. */
Test(line, who_was_served_counts_until_he_is_there)
{
    struct place_need need = {.gpus = 1, .memory_bytes = 5ull << 30};
    struct place_server seen[2] = {example(), example()}, now[2];
    const uint32_t which[] = {1};
    char *first, *second;

    snprintf(seen[0].name, sizeof(seen[0].name), "other");
    seen[0].gpus[1].healthy = seen[1].gpus[1].healthy = true;
    memcpy(now, seen, sizeof(now));
    first = dir_line_value(&need, now, which, 1);
    cr_assert_eq(dir_line_apply(first, &need, now, 2), DIR_LINE_GOES);
    cr_assert(now[0].sessions == 3 && now[1].sessions == 4 && now[1].opened == 71, "%s", first);
    cr_assert_eq(now[1].gpus[0].free_bytes, 2ull << 30);
    second = dir_line_value(&need, now, which, 1);

    for (unsigned come = 0; come <= 2; come++) {
        memcpy(now, seen, sizeof(now));
        now[1].opened += come;
        now[1].sessions += come;
        cr_assert(dir_line_apply(first, &need, now, 2) == DIR_LINE_GOES &&
                  dir_line_apply(second, &need, now, 2) == DIR_LINE_GOES);
        cr_assert_eq(now[1].sessions, 5, "%u of them came", come);
    }
    free(first);
    free(second);
}

Test(line, who_waits_takes_nothing_and_nonsense_neither)
{
    static const char *const texts[] = {
        DIR_LINE_WAITING,
        "",
        "[]",
        "{\"to\":[]}",
        "{\"to\":7}",
        ("{\"to\":[7,{},{\"region\":\"home\"},{\"region\":\"home\",\"name\":5},"
         "{\"region\":\"home\",\"name\":\"gpu/1 x\",\"opened\":-1}],\"gpus\":-3}"),
    };
    struct place_need need = {.gpus = 1};
    struct place_server s = example();

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_expect_eq(dir_line_apply(texts[i], &need, &s, 1),
                     i == 5 ? DIR_LINE_GOES : DIR_LINE_WAITS, "%s", texts[i]);
        cr_assert(s.sessions == 3 && s.gpus[0].free_bytes == 7ull << 30);
    }
}

Test(line, who_stands_aside_is_told_apart)
{
    static const char *const texts[] = {"{\"aside\":false}", "{\"aside\":1}",
                                        "{\"aside\":\"true\"}", "[\"aside\"]"};
    struct place_need need = {.gpus = 1};

    cr_assert_eq(dir_line_apply(DIR_LINE_STANDING_ASIDE, &need, NULL, 0), DIR_LINE_ASIDE);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_expect_eq(dir_line_apply(texts[i], &need, NULL, 0), DIR_LINE_WAITS, "%s", texts[i]);
}
