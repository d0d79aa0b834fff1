/* tests/unit/wire/test_admin.c -- operators' messages: there and back, and bounded */
#include "protocol/wire/admin.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

Test(admin, request_comes_back)
{
    struct wire_admin_setting settings[2] = {{"memory", "4g"}, {"share", "20"}};
    struct wire_admin_request in = {.what = WIRE_ADMIN_QUOTA,
                                    .parts = 5,
                                    .session_id = 0xfedcba9876543210,
                                    .tenant = "research",
                                    .deadline_ms = 1234567890123,
                                    .undo = true,
                                    .setting_count = 2,
                                    .settings = settings},
                              out;
    GP_AUTO_BUF struct gp_buf buf = {0};

    cr_assert_eq(wire_admin_request_encode(&in, &buf), GP_OK);
    cr_assert_eq(wire_admin_request_decode(buf.data, buf.len, &out), GP_OK);
    cr_assert(out.what == in.what && out.parts == 5 && out.session_id == in.session_id &&
              out.deadline_ms == in.deadline_ms && out.undo && !out.stop);
    cr_assert_str_eq(out.tenant, "research");
    cr_assert_eq(out.setting_count, 2);
    cr_assert_eq(memcmp(out.settings, settings, sizeof(settings)), 0);
    wire_admin_request_fini(&out);
    cr_assert_null(out.settings);
}

/* As many as there may be of each, with all their parts. */
static void
answer_fill(struct wire_admin_answer *a, uint32_t sessions)
{
    memset(a, 0, sizeof(*a));
    a->code = WIRE_CODE_BUSY;
    strcpy(a->reason, "caf\xc3\xa9");
    strcpy(a->server.name, "gpu1");
    a->server.driver_version = -7;
    a->server.governed = true;
    a->gpu_count = WIRE_DEVICES_MAX;
    a->gpus = calloc(a->gpu_count, sizeof(*a->gpus));
    for (uint32_t i = 0; i < a->gpu_count; i++)
        a->gpus[i] =
            (struct wire_admin_gpu){.index = i, .name = "NVIDIA X", .total_bytes = UINT64_MAX};
    a->session_count = sessions;
    a->sessions = calloc(sessions, sizeof(*a->sessions));
    for (uint32_t i = 0; i < sessions; i++) {
        struct wire_admin_session *s = &a->sessions[i];

        s->id = i + 1;
        strcpy(s->program, "p");
        s->counters.bytes_out = 1ull << 40;
        s->use_count = 2;
        s->uses = calloc(2, sizeof(*s->uses));
        s->uses[1] = (struct wire_admin_use){.gpu = 63, .lease_bytes = i};
    }
    a->tenant_count = 1;
    a->tenants = calloc(1, sizeof(*a->tenants));
    strcpy(a->tenants[0].name, "research");
    a->tenants[0].force = true;
}

Test(admin, answer_comes_back_whole)
{
    struct wire_admin_answer in, out;
    GP_AUTO_BUF struct gp_buf buf = {0};

    answer_fill(&in, WIRE_ADMIN_SESSIONS_MAX);
    cr_assert_eq(wire_admin_answer_encode(&in, &buf), GP_OK);
    cr_assert_eq(wire_admin_answer_decode(buf.data, buf.len, &out), GP_OK);
    cr_assert_str_eq(out.reason, in.reason);
    cr_assert_eq(memcmp(&out.server, &in.server, sizeof(in.server)), 0);
    cr_assert_eq(memcmp(out.gpus, in.gpus, in.gpu_count * sizeof(*in.gpus)), 0);
    cr_assert_eq(out.session_count, WIRE_ADMIN_SESSIONS_MAX);
    for (uint32_t i = 0; i < out.session_count; i++) {
        cr_assert_eq(out.sessions[i].id, i + 1);
        cr_assert_eq(out.sessions[i].counters.bytes_out, 1ull << 40);
        cr_assert_eq(
            memcmp(out.sessions[i].uses, in.sessions[i].uses, 2 * sizeof(*in.sessions[i].uses)), 0);
    }
    cr_assert(out.tenants[0].force);
    wire_admin_answer_fini(&in);
    wire_admin_answer_fini(&out);
}

Test(admin, more_than_there_may_be_is_refused)
{
    struct wire_admin_setting settings[WIRE_ADMIN_SETTINGS_MAX + 1];
    struct wire_admin_request in = {.settings = settings, .setting_count = 17}, out;
    uint8_t many[WIRE_ADMIN_SETTINGS_MAX * 2 + 2], text[300] = {0x22, 0xac, 0x02};
    GP_AUTO_BUF struct gp_buf buf = {0};

    memset(settings, 0, sizeof(settings));
    cr_assert_eq(wire_admin_request_encode(&in, &buf), GP_ERR_INVALID);
    /* Field 8, of no bytes, once too often. */
    for (size_t i = 0; i < sizeof(many); i += 2)
        memcpy(many + i, "\x42\x00", 2);
    cr_assert_eq(wire_admin_request_decode(many, sizeof(many) - 2, &out), GP_OK);
    wire_admin_request_fini(&out);
    cr_assert_eq(wire_admin_request_decode(many, sizeof(many), &out), GP_ERR_PROTOCOL);
    /* A tenant's name that is too long, and one that is no plain text. */
    memset(text + 3, 'a', sizeof(text) - 3);
    cr_assert_eq(wire_admin_request_decode(text, sizeof(text), &out), GP_ERR_PROTOCOL);
    cr_assert_eq(wire_admin_request_decode("\x22\x01\x07", 3, &out), GP_ERR_PROTOCOL);
    cr_assert_eq(wire_admin_request_decode("\x22\x05xx", 4, &out), GP_ERR_PROTOCOL);
}
