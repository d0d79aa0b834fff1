/* tests/unit/directory/test_place.c -- models, and the order of servers */
#include "protocol/directory/place.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define GIB (1ull << 30)

Test(model, names_of_devices)
{
    static const char *const names[][2] = {
        {"NVIDIA H200", "h200"},
        {"NVIDIA H100 80GB HBM3", "h100"},
        {"NVIDIA A100-SXM4-80GB", "a100"},
        {"NVIDIA A100-PCIE-40GB MIG 1g.5gb", "a100"},
        {"NVIDIA L20", "l20"},
        {"NVIDIA L40S", "l40s"},
        {"Tesla V100-SXM2-16GB", "v100"},
        {"Tesla T4", "t4"},
        {"NVIDIA GeForce RTX 4090", "rtx4090"},
        {"NVIDIA RTX A6000", "rtxa6000"},
        {"NVIDIA GeForce GTX 1080 Ti", "gtx1080"},
        {"NVIDIA GH200 480GB", "gh200"},
        {"gpupool software device", "soft"},
        {"Unheard Of", "unheardof"},
        {"", ""},
    };
    char key[DIR_MODEL_BYTES];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        dir_model_key(names[i][0], NULL, key);
        cr_expect_str_eq(key, names[i][1], "%s is called %s", names[i][0], key);
    }
}

Test(model, rules_go_first_and_long_names_are_cut)
{
    static const char *const rules[] = {"nonsense", "NVIDIA H20*=hopper", "*=other", NULL};
    char key[DIR_MODEL_BYTES], name[200];

    dir_model_key("NVIDIA H200", rules, key);
    cr_assert_str_eq(key, "hopper");
    dir_model_key("NVIDIA L20", rules, key);
    cr_assert_str_eq(key, "other");
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    dir_model_key(name, NULL, key);
    cr_assert_eq(strlen(key), DIR_MODEL_BYTES - 1);
    cr_assert(dir_model_is("h200", "H200") && dir_model_is("h200", "h*") &&
              !dir_model_is("h200", "h20"));
}

static struct place_server
server(const char *name, const char *model, uint32_t gpus, uint64_t free_gib)
{
    struct place_server s = {.cost = PLACE_ONPREM, .rtt_ns = 1000000, .gpu_count = gpus};

    snprintf(s.name, sizeof(s.name), "%s", name);
    for (uint32_t i = 0; i < gpus; i++) {
        s.gpus[i] = (struct place_gpu){.total_bytes = 80 * GIB,
                                       .free_bytes = free_gib * GIB,
                                       .share_free = 100,
                                       .healthy = true};
        snprintf(s.gpus[i].model, sizeof(s.gpus[i].model), "%s", model);
    }
    return s;
}

/* The names in their order, "a b c". */
static const char *
order_of(const struct place_need *need, const struct place_server *servers, size_t count)
{
    static char text[256];
    uint32_t order[16];
    size_t n = place_order(need, servers, count, order), at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i > 0 ? " " : "",
                               servers[order[i]].name);
    return text;
}

Test(place, what_does_not_meet_the_need_is_left_out_and_told)
{
    struct place_server s[] = {server("few", "h200", 1, 80),   server("full", "h200", 2, 10),
                               server("other", "a100", 2, 80), server("good", "h200", 2, 80),
                               server("ill", "h200", 2, 80),   server("drained", "h200", 2, 80),
                               server("away", "h200", 2, 80),  server("busy", "h200", 2, 80)};
    struct place_need need = {.gpus = 2, .memory_bytes = 40 * GIB, .model_count = 1, .share = 50};
    static const char *const why[] = {"1 of 2 GPUs of that model",
                                      "0 of 2 GPUs with so much memory free",
                                      "0 of 2 GPUs of that model",
                                      "",
                                      "1 of 2 GPUs healthy and with so much share free",
                                      "drained",
                                      "another region",
                                      "no session left"};
    char text[PLACE_TEXT];

    strcpy(need.models[0], "h200");
    strcpy(need.region, "here");
    for (size_t i = 0; i < 8; i++)
        strcpy(s[i].region, i == 6 ? "there" : "here");
    s[4].gpus[0].healthy = false;
    s[5].draining = true;
    s[7].sessions = s[7].sessions_max = 3;
    cr_assert_str_eq(order_of(&need, s, 8), "good");
    for (size_t i = 0; i < 8; i++) {
        cr_expect_eq(place_server_meets(&need, &s[i], text), i == 3 ? 2 : 0, "%s", s[i].name);
        cr_expect_str_eq(text, why[i], "%s: %s", s[i].name, text);
    }
}

Test(place, a_class_that_is_not_told_is_its_servers_to_tell)
{
    static const enum place_priority here[] = {PLACE_UNKNOWN, PLACE_HIGH, PLACE_NORMAL, PLACE_LOW};
    struct place_server s[] = {server("silent", "h200", 1, 80), server("high", "h200", 1, 80),
                               server("normal", "h200", 1, 80), server("slow", "h200", 1, 80)};
    struct place_need need = {.gpus = 1};
    char text[PLACE_TEXT];

    for (size_t i = 0; i < 4; i++)
        s[i].gpus[0].priority = here[i];
    cr_assert_str_eq(order_of(&need, s, 4), "high normal silent slow");
    need.priority = PLACE_LOW;
    cr_assert_str_eq(order_of(&need, s, 4), "high normal silent slow");
    need.priority = PLACE_NORMAL;
    cr_assert_str_eq(order_of(&need, s, 4), "high normal silent");
    need.priority = PLACE_HIGH;
    cr_assert_str_eq(order_of(&need, s, 4), "high silent");
    cr_assert_eq(place_server_meets(&need, &s[2], text), 0);
    cr_assert_str_eq(text, "0 of 1 GPUs where the tenant has that priority");
}

Test(place, class_then_distance_then_fit_then_name)
{
    struct place_server s[] = {server("cloud", "h200", 1, 40),  server("far", "h200", 1, 40),
                               server("loose", "h200", 1, 80),  server("tight", "h200", 1, 41),
                               server("tight2", "h200", 1, 41), server("unknown", "h200", 1, 40)};
    struct place_need need = {.gpus = 1, .memory_bytes = 40 * GIB};

    s[0].cost = PLACE_CLOUD;
    s[0].rtt_ns = 1000;
    s[1].rtt_ns = 40000000;
    s[5].rtt_ns = UINT64_MAX;
    cr_assert_str_eq(order_of(&need, s, 6), "tight tight2 loose far unknown cloud");
    need.spread = true;
    cr_assert_str_eq(order_of(&need, s, 6), "loose tight tight2 far unknown cloud");
    s[2].gpus[0].sessions = 1;
    cr_assert_str_eq(order_of(&need, s, 6), "tight tight2 loose far unknown cloud");
    need.prefer = PLACE_CLOUD;
    cr_assert_str_eq(order_of(&need, s, 6), "cloud tight tight2 loose far unknown");
    need.only_preferred = true;
    cr_assert_str_eq(order_of(&need, s, 6), "cloud");
    need.prefer = PLACE_ANY; /* is the owner's own */
    cr_assert_str_eq(order_of(&need, s, 6), "tight tight2 loose far unknown");
}

Test(place, distances_that_one_look_cannot_tell_are_one)
{
    struct place_server s[] = {server("a", "h200", 1, 80), server("b", "h200", 1, 41)};
    struct place_need need = {.gpus = 1};

    s[0].rtt_ns = 20000;
    s[1].rtt_ns = 190000;
    cr_assert_str_eq(order_of(&need, s, 2), "b a");
    s[1].rtt_ns = 3000000;
    cr_assert_str_eq(order_of(&need, s, 2), "a b");
    cr_assert_str_eq(order_of(&need, s, 0), "");
}

Test(place, what_is_promised_is_taken)
{
    struct place_need need = {.gpus = 2, .memory_bytes = 40 * GIB, .share = 60};
    struct place_server s = server("a", "h200", 3, 80);
    char why[PLACE_TEXT];

    s.gpus[0].free_bytes = 50 * GIB;
    place_reserve(&need, &s);
    cr_assert(s.sessions == 1 && s.opened == 1);
    cr_assert(s.gpus[0].free_bytes == 10 * GIB && s.gpus[1].free_bytes == 40 * GIB &&
              s.gpus[2].free_bytes == 80 * GIB);
    cr_assert(s.gpus[0].share_free == 40 && s.gpus[2].share_free == 100);
    cr_assert_eq(place_server_meets(&need, &s, why), 0);
    place_reserve(&need, &s); /* takes what there is, and no more than that */
    cr_assert(s.gpus[2].free_bytes == 40 * GIB && s.gpus[1].free_bytes == 40 * GIB);
}

/* --- several together --------------------------------------------------------------------- */

Test(place, takes_as_few_servers_together_as_have_enough)
{
    struct place_server servers[] = {server("a", "h200", 2, 10), server("b", "h200", 3, 10),
                                     server("c", "l20", 8, 10), server("d", "h200", 2, 10)};
    struct place_need need = {.gpus = 5, .model_count = 1, .models = {"h200"}};
    uint32_t order[4];

    cr_assert_eq(place_order(&need, servers, 4, order), 0);
    cr_assert_eq(place_together(&need, servers, 4, 16, order), 2);
    cr_assert_eq(order[0], 1, "who has most comes first");
    cr_assert_eq(order[1], 0);
    need.gpus = 7;
    cr_assert_eq(place_together(&need, servers, 4, 16, order), 3);
    cr_assert_eq(place_together(&need, servers, 4, 2, order), 0, "more than a program can use");
    need.gpus = 8;
    cr_assert_eq(place_together(&need, servers, 4, 16, order), 0);
}

/* What sessions hold comes back; what is drained, broken or elsewhere does not. */
Test(place, tells_what_no_server_will_ever_have)
{
    struct place_server servers[] = {server("a", "h200", 2, 10), server("b", "h200", 2, 10)};
    struct place_need need = {.gpus = 4, .memory_bytes = 10 * GIB, .share = 100};
    uint32_t order[2];

    for (int s = 0; s < 2; s++) {
        servers[s].sessions = servers[s].sessions_max = 3;
        for (int g = 0; g < 2; g++) {
            servers[s].gpus[g].total_bytes = 10 * GIB;
            servers[s].gpus[g].free_bytes = 0;
            servers[s].gpus[g].share_free = 0;
        }
    }
    cr_assert_eq(place_order(&need, servers, 2, order), 0);
    cr_assert(place_ever(&need, servers, 2, 16));
    cr_assert(!place_ever(&need, servers, 2, 1), "they cannot be used together");
    cr_assert(servers[0].sessions == 3 && servers[0].gpus[0].free_bytes == 0,
              "they stay as they are");
    need.memory_bytes++;
    cr_assert(!place_ever(&need, servers, 2, 16));
    need.memory_bytes = 0;
    snprintf(need.region, sizeof(need.region), "mars");
    cr_assert(!place_ever(&need, servers, 2, 16));
    need.region[0] = '\0';
    servers[1].gpus[1].healthy = false;
    cr_assert(!place_ever(&need, servers, 2, 16));
    need.gpus = 3;
    cr_assert(place_ever(&need, servers, 2, 16));
    servers[0].draining = true;
    cr_assert(!place_ever(&need, servers, 2, 16));
    cr_assert(!place_ever(&need, servers, 0, 16));
}

Test(place, spreads_over_more_servers_than_it_takes)
{
    struct place_server servers[] = {server("a", "h200", 4, 10), server("b", "h200", 4, 10),
                                     server("c", "h200", 4, 10)};
    struct place_need need = {.gpus = 5, .spread = true};
    uint32_t order[3];

    cr_assert_eq(place_together(&need, servers, 3, 16, order), 3);
    need.spread = false;
    cr_assert_eq(place_together(&need, servers, 3, 16, order), 2);
    servers[0].draining = true;
    need.gpus = 9;
    cr_assert_eq(place_together(&need, servers, 3, 16, order), 0);
}
