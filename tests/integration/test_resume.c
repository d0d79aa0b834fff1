/* tests/integration/test_resume.c -- further connections of a session: its client, and others */
#include "tests/support/client.h"
#include "tests/support/server.h"
#include "tests/unit/transport/certs.h"

#include "protocol/wire/negotiate.h"
#include "protocol/wire/preface.h"
#include "transport/bundle/bundle.h"
#include "transport/link/link.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOON (gp_now_ns() + 20 * GP_NS_PER_S)

/* A session and what is needed to come back to it. */
struct visit {
    struct test_server *server;
    struct test_client c;
    uint8_t key[TP_KEY_BYTES];
    uint64_t id, attempt;
};

static struct test_server
server_of(const char *scheme, const char *more)
{
    static char listen[64];
    const char *args[] = {listen, NULL, NULL, NULL, more, NULL};

    (void)test_certs_create();
    snprintf(listen, sizeof(listen), "--listen=%s://127.0.0.1:0", scheme);
    test_certs_server_args(args + 1);
    return test_server_start(args);
}

static void
open_visit(struct visit *v, struct test_server *server, const char *who)
{
    struct tp_tls_opts tls = test_certs_opts(who, "ca");
    struct tp_link_opts opts = {0};

    memset(v, 0, sizeof(*v));
    v->server = server;
    cr_assert(test_client_open_with(&v->c, server->url[0], &tls, WIRE_FEATURE_RESUME), "%s",
              v->c.refused.reason);
    cr_assert_gt(v->c.answer.grace_ms, 0);
    v->id = v->c.answer.session_id;
    cr_assert_eq(tp_link_key(v->c.lane, v->id, v->c.answer.resume_secret, v->key), GP_OK);
    cr_assert_eq(tp_link_wrap(v->c.lane, &opts, &v->c.lane), GP_OK);
    test_client_begin(&v->c);
}

static void
works(struct visit *v)
{
    TEST_ADD(&v->c, gpBarrier, 0);
    cr_assert_eq(test_client_call(&v->c), CUDA_SUCCESS);
    cr_assert_eq(v->c.result.deferred, 0);
}

/* As a client that ends: the last word, and nobody to hear an answer. */
static void
leave(struct visit *v)
{
    test_client_frame(&v->c, WIRE_FRAME_BYE, WIRE_CODE_OK, NULL, 0);
    tp_close(v->c.lane);
}

/* --- knocking ------------------------------------------------------------------------- */

static enum gp_status
dial_at(const char *url, uint64_t id, const uint8_t *key, struct tp_lane **lane_p)
{
    uint8_t preface[WIRE_PREFACE_BYTES];
    char why[TP_WHY_BYTES] = "";
    struct tp_opts opts = {
        .framing = &wire_framing,
        .preface = preface,
        .preface_bytes = sizeof(preface),
        .tls = {.psk = key},
        .why = why,
    };

    wire_preface_encode(id, preface);
    return tp_connect(url, &opts, lane_p);
}

static enum gp_status
dial(const struct visit *v, uint64_t id, const uint8_t *key, struct tp_lane **lane_p)
{
    return dial_at(v->server->url[0], id, key, lane_p);
}

static void
say_resume(struct tp_lane *lane, const struct wire_resume *resume)
{
    struct wire_frame_header header = {.kind = WIRE_FRAME_HELLO, .tag = WIRE_CONTROL_RESUME};
    GP_AUTO_BUF struct gp_buf message = {0};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {NULL, 0}};

    cr_assert_eq(wire_resume_encode(resume, &message), GP_OK);
    header.payload_bytes = (uint32_t)message.len;
    wire_frame_encode(&header, head);
    iov[1] = (struct iovec){message.data, message.len};
    cr_assert_eq(tp_send(lane, iov, 2), GP_OK);
}

/* The tag of the answer, 0 at the end of the line. */
static uint32_t
hear_answer(struct tp_lane *lane, struct wire_resumed *resumed)
{
    struct wire_frame_header header;
    struct tp_frame frame;

    if (tp_recv_frame(lane, &frame, SOON) != GP_OK)
        return 0;
    cr_assert_eq(wire_frame_decode(frame.header, UINT32_MAX, &header), GP_OK);
    cr_assert_eq(header.kind, WIRE_FRAME_HELLO);
    if (header.tag == WIRE_CONTROL_RESUMED)
        cr_assert_eq(wire_resumed_decode(frame.payload, frame.payload_bytes, resumed), GP_OK);
    return header.tag;
}

static struct wire_resume
claimed(struct visit *v, uint64_t attempt, uint64_t received, uint32_t line, uint32_t lines)
{
    struct wire_resume resume = {.session_id = v->id,
                                 .attempt = attempt,
                                 .received_bytes = received,
                                 .line = line,
                                 .lines = lines};
    const struct tp_link_claim claim = {v->id, attempt, received, line, lines};

    cr_assert_eq(tp_link_proof(v->key, &claim, resume.proof), GP_OK);
    return resume;
}

static struct wire_resume
honest(struct visit *v, uint64_t received)
{
    return claimed(v, ++v->attempt, received, 0, 0);
}

static void
come_back(struct visit *v)
{
    struct wire_resumed resumed;
    struct wire_resume resume;
    struct tp_lane *lane;
    uint64_t received, until = SOON;
    enum gp_status status;

    do /* a client tries again when it finds no room */
        status = dial(v, v->id, v->key, &lane);
    while (status != GP_OK && gp_now_ns() < until);
    cr_assert_eq(status, GP_OK);
    cr_assert_eq(tp_link_detach(v->c.lane, &received), GP_OK);
    resume = honest(v, received);
    say_resume(lane, &resume);
    cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_RESUMED);
    tp_set_max_payload(lane, WIRE_FRAME_PAYLOAD_MAX);
    cr_assert_eq(tp_link_attach(v->c.lane, lane, resumed.received_bytes), GP_OK);
    tp_link_catch_up(v->c.lane);
}

struct scheme {
    char name[8];
};

#define BOTH_SCHEMES(test)                                                                         \
    ParameterizedTestParameters(resume, test)                                                      \
    {                                                                                              \
        static struct scheme all[] = {{"tcp"}, {"tls"}};                                           \
                                                                                                   \
        return cr_make_param_array(struct scheme, all, GP_ARRAY_LEN(all));                         \
    }                                                                                              \
    ParameterizedTest(struct scheme *scheme, resume, test, .timeout = 60)

/* --- the client itself ------------------------------------------------------------------ */

BOTH_SCHEMES(memory_waits_and_callbacks_are_still_there)
{
    struct test_server server = server_of(scheme->name, "--grace=60s");
    uint64_t base;
    struct wire_record record;
    struct visit v;
    uint32_t sync;

    open_visit(&v, &server, "client");
    base = v.c.answer.device_range.base;
    TEST_ADD(&v.c, cuMemAlloc_v2, .address = base, .bytes = 4096);
    TEST_ADD(&v.c, cuMemsetD32Async, .dst = base, .value = 0x12345678, .count = 1024);
    TEST_ADD(&v.c, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    TEST_ADD(&v.c, cuLaunchHostFunc, .stream = ID(1), .callback = 77);
    TEST_ADD(&v.c, cuStreamSynchronize, .stream = ID(1));
    test_client_send(&v.c);
    sync = v.c.tags;
    while (v.c.notices.len == 0)
        cr_assert(test_client_receive(&v.c, SOON));
    memcpy(&record, v.c.notices.data, sizeof(record));

    tp_link_break(v.c.lane, "test"); /* with a parked wait and a callback in flight */
    TEST_ADD(&v.c, gpHostDone, .tag = record.tag);
    test_client_send(&v.c); /* kept */
    come_back(&v);
    cr_assert_eq(test_client_wait(&v.c, sync), CUDA_SUCCESS);

    TEST_ADD(&v.c, cuMemcpyDtoH_v2, .src = base, .bytes = 4096, .data = 1);
    test_client_send(&v.c);
    tp_link_break(v.c.lane, "test"); /* the answer is on its way */
    come_back(&v);
    cr_assert_eq(test_client_wait(&v.c, 0), CUDA_SUCCESS);
    cr_assert_eq(v.c.data.len, 4096);
    for (int i = 0; i < 4096; i += 4)
        cr_assert_eq(memcmp(v.c.data.data + i, "\x78\x56\x34\x12", 4), 0);
    leave(&v);
    test_server_stop(&server);
    test_certs_destroy();
}

Test(resume, a_session_is_kept_for_the_grace_time_only, .timeout = 60)
{
    struct test_server server = server_of("tls", "--grace=200ms");
    enum gp_status status;
    struct tp_lane *lane;
    struct visit v;

    open_visit(&v, &server, "client");
    tp_link_break(v.c.lane, "test");
    test_server_await_log(&server, "did not come back");
    test_server_await_log(&server, "session ended");
    /* The supervisor hears of it a moment later; until then it sends us to a worker that ends. */
    for (uint64_t end = gp_now_ns() + 20 * GP_NS_PER_S;
         (status = dial(&v, v.id, v.key, &lane)) != GP_ERR_NOT_FOUND && gp_now_ns() < end;)
        if (status == GP_OK)
            tp_close(lane);
    cr_assert_eq(status, GP_ERR_NOT_FOUND);
    tp_close(v.c.lane);
    test_server_stop(&server);
    test_certs_destroy();
}

Test(resume, a_bye_ends_the_session_at_once, .timeout = 60)
{
    struct test_server server = server_of("tls", "--grace=60s");
    struct visit v;

    open_visit(&v, &server, "client");
    leave(&v);
    test_server_await_log(&server, "session ended");
    cr_assert(!test_server_logged(&server, "the client is lost"));
    test_server_stop(&server);
    test_certs_destroy();
}

Test(resume, without_grace_nothing_is_kept, .timeout = 60)
{
    struct test_server server = server_of("tcp", "--grace=0s");
    struct test_client c;

    cr_assert(test_client_open_with(&c, server.url[0], NULL, WIRE_FEATURE_RESUME));
    cr_assert_eq(c.answer.grace_ms, 0);
    test_client_abandon(&c);
    test_server_await_log(&server, "session ended");
    test_server_stop(&server);
    test_certs_destroy();
}

Test(resume, a_lost_clients_session_makes_room_for_another, .timeout = 60)
{
    struct test_server server = server_of("tls", "--sessions-max=1");
    struct visit v, w;

    open_visit(&v, &server, "client");
    tp_link_break(v.c.lane, "test");
    test_server_await_log(&server, "the client is lost");
    open_visit(&w, &server, "client");
    works(&w);
    cr_assert(test_server_logged(&server, "is ended to make room"));
    leave(&w);
    tp_close(v.c.lane);
    test_server_stop(&server);
    test_certs_destroy();
}

/* --- others ------------------------------------------------------------------------------- */

/* None of them disturbs the session, whose client then comes back. */
BOTH_SCHEMES(strangers_are_refused_and_the_session_goes_on)
{
    bool tls = strcmp(scheme->name, "tls") == 0;
    struct test_server server = server_of(scheme->name, "--grace=60s");
    uint8_t other_key[TP_KEY_BYTES] = "nobody's";
    struct wire_resumed resumed;
    struct wire_resume resume;
    struct tp_lane *lane;
    enum gp_status status;
    struct visit v, w;

    test_certs_add(&(struct test_cert){.name = "bob", .ca = "ca", .cn = "bob"});
    open_visit(&v, &server, "client");
    open_visit(&w, &server, "bob");

    /* An id that nobody has. */
    status = dial(&v, 0x1234567, v.key, &lane);
    if (tls) {
        cr_assert_eq(status, GP_ERR_NOT_FOUND);
    } else {
        cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_ERROR);
        tp_close(lane);
    }
    cr_assert(test_server_logged(&server, "a session that is not here"));

    /* Another certificate's session, with its own good key. */
    status = dial(&v, v.id, w.key, &lane);
    if (tls) {
        cr_assert_eq(status, GP_ERR_AUTH);
        test_server_await_log(&server, "does not have the session's key");
    } else {
        resume = honest(&w, 0);
        resume.session_id = v.id;
        say_resume(lane, &resume);
        cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_ERROR);
        tp_close(lane);
    }
    /* No key, and a proof that is none. */
    status = dial(&v, v.id, other_key, &lane);
    cr_assert(!tls || status == GP_ERR_AUTH);
    if (!tls)
        tp_close(lane);
    status = dial(&v, v.id, v.key, &lane);
    cr_assert_eq(status, GP_OK);
    resume = honest(&v, 0);
    resume.proof[5] ^= 1;
    say_resume(lane, &resume);
    cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_ERROR);
    tp_close(lane);
    test_server_await_log(&server, "it does not have the session's key");

    works(&v);
    tp_link_break(v.c.lane, "test");
    come_back(&v);
    works(&v);
    works(&w);
    leave(&w);
    leave(&v);
    cr_assert(!test_server_logged(&server, "died"));
    test_server_stop(&server);
    test_certs_destroy();
}

/* On plain tcp whoever listens can say it again; it is of no use. */
Test(resume, what_was_said_once_is_refused, .timeout = 60)
{
    struct test_server server = server_of("tcp", "--grace=60s");
    struct wire_resumed resumed;
    struct wire_resume resume;
    struct tp_lane *lane;
    uint64_t received;
    struct visit v;

    open_visit(&v, &server, "client");
    cr_assert_eq(tp_link_detach(v.c.lane, &received), GP_OK);
    resume = honest(&v, received);
    cr_assert_eq(dial(&v, v.id, v.key, &lane), GP_OK);
    say_resume(lane, &resume);
    cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_RESUMED);
    cr_assert_eq(tp_link_attach(v.c.lane, lane, resumed.received_bytes), GP_OK);
    works(&v);

    cr_assert_eq(dial(&v, v.id, v.key, &lane), GP_OK);
    say_resume(lane, &resume);
    cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_ERROR);
    tp_close(lane);
    test_server_await_log(&server, "was said before");
    works(&v);
    leave(&v);
    test_server_stop(&server);
    test_certs_destroy();
}

/* A client of ours never says this: it cannot go on, and whoever can afterwards does. */
Test(resume, counts_that_cannot_be_do_not_end_the_session, .timeout = 60)
{
    struct test_server server = server_of("tls", "--grace=60s");
    struct wire_resumed resumed;
    struct wire_resume resume;
    struct tp_lane *lane;
    struct tp_frame frame;
    struct visit v;

    open_visit(&v, &server, "client");
    cr_assert_eq(dial(&v, v.id, v.key, &lane), GP_OK);
    resume = honest(&v, 1ull << 40);
    say_resume(lane, &resume);
    cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_RESUMED);
    cr_assert_neq(tp_recv_frame(lane, &frame, SOON), GP_OK, "and closed");
    tp_close(lane);
    come_back(&v);
    works(&v);
    leave(&v);
    test_server_stop(&server);
    test_certs_destroy();
}

/* --- floods --------------------------------------------------------------------------------- */

/* Prefaces that are cut, malformed, unknown, and many of a session that is there. */
Test(resume, a_flood_of_prefaces_keeps_nobody_out, .timeout = 120)
{
    struct test_server server = server_of("tls", "--grace=60s");
    uint8_t preface[WIRE_PREFACE_BYTES], bad[WIRE_PREFACE_BYTES];
    enum {
        FLOOD = 300
    };
    static int fds[FLOOD];
    struct visit v, w;

    open_visit(&v, &server, "client");
    wire_preface_encode(v.id, preface);
    for (int i = 0; i < FLOOD; i++) {
        memcpy(bad, preface, sizeof(bad));
        if (i % 4 == 1)
            bad[9] ^= 1; /* nobody's */
        if (i % 4 == 2)
            bad[20] = 1; /* malformed */
        fds[i] = test_server_connect(&server);
        cr_assert_gt(send(fds[i], bad, i % 4 == 3 ? 7 : sizeof(bad), MSG_NOSIGNAL), 0);
    }
    tp_link_break(v.c.lane, "test");
    come_back(&v);
    works(&v);
    open_visit(&w, &server, "client");
    works(&w);
    for (int i = 0; i < FLOOD; i++)
        close(fds[i]);
    leave(&w);
    leave(&v);
    cr_assert(test_server_logged(&server, "malformed preface"));
    cr_assert(!test_server_logged(&server, "died"));
    test_server_stop(&server);
    test_certs_destroy();
}

/* --- several lines ---------------------------------------------------------------------------- */

/* One of several: GP_OK once the server waits with it for the first one. */
static unsigned
bring(struct visit *v, const struct wire_resume *resume, struct tp_lane **lane_p)
{
    struct wire_resumed resumed;
    unsigned answer;

    cr_assert_eq(dial(v, v->id, v->key, lane_p), GP_OK);
    say_resume(*lane_p, resume);
    answer = hear_answer(*lane_p, &resumed);
    if (answer != WIRE_CONTROL_RESUMED)
        tp_close(*lane_p);
    return answer;
}

static void
come_back_wide(struct visit *v, uint32_t lines)
{
    struct tp_lane *all[TP_BUNDLE_MAX], *lane;
    uint64_t attempt = ++v->attempt, received;
    struct wire_resumed resumed;
    struct wire_resume resume;

    for (uint32_t i = 1; i < lines; i++) {
        resume = claimed(v, attempt, 0, i, lines);
        cr_assert_eq(bring(v, &resume, &all[i]), WIRE_CONTROL_RESUMED);
    }
    cr_assert_eq(dial(v, v->id, v->key, &all[0]), GP_OK);
    cr_assert_eq(tp_link_detach(v->c.lane, &received), GP_OK);
    resume = claimed(v, attempt, received, 0, lines);
    say_resume(all[0], &resume);
    cr_assert_eq(hear_answer(all[0], &resumed), WIRE_CONTROL_RESUMED);
    cr_assert_eq(tp_bundle_make(all, lines, &lane), GP_OK);
    cr_assert_eq(tp_link_attach(v->c.lane, lane, resumed.received_bytes), GP_OK);
    tp_link_catch_up(v->c.lane);
}

/* The server sends it as it can: in long runs. */
static void
copies(struct visit *v, uint32_t value)
{
    const uint64_t base = v->c.answer.device_range.base, bytes = 4u << 20;

    gp_buf_reset(&v->c.data);
    TEST_ADD(&v->c, cuMemsetD32Async, .dst = base, .value = value, .count = bytes / 4);
    TEST_ADD(&v->c, cuMemcpyDtoH_v2, .src = base, .bytes = bytes, .data = 1);
    cr_assert_eq(test_client_call(&v->c), CUDA_SUCCESS);
    cr_assert_eq(v->c.data.len, bytes);
    for (uint64_t i = 0; i < bytes; i += 4)
        cr_assert_eq(memcmp(v->c.data.data + i, &value, 4), 0, "at %llu", (unsigned long long)i);
}

BOTH_SCHEMES(goes_by_several_lines_and_by_one_again)
{
    struct test_server server = server_of(scheme->name, "--grace=60s");
    struct visit v;

    open_visit(&v, &server, "client");
    cr_assert_eq(v.c.answer.lines_max, TP_BUNDLE_MAX);
    TEST_ADD(&v.c, cuMemAlloc_v2, .address = v.c.answer.device_range.base, .bytes = 4u << 20);
    come_back_wide(&v, 3);
    test_server_await_log(&server, "by 3 connections");
    copies(&v, 0x01020304);
    come_back_wide(&v, TP_BUNDLE_MAX);
    copies(&v, 0x11121314);
    tp_link_break(v.c.lane, "test");
    come_back(&v);
    copies(&v, 0x21222324);
    leave(&v);
    cr_assert(!test_server_logged(&server, "died"));
    test_server_stop(&server);
    test_certs_destroy();
}

/* What does not fit together is refused, and the session goes on as it did. */
BOTH_SCHEMES(lines_join_nothing_but_their_own_session_and_attempt)
{
    struct test_server server = server_of(scheme->name, "--grace=60s");
    struct wire_resume resume, said;
    struct tp_lane *kept, *lane;
    struct visit v, w;

    open_visit(&v, &server, "client");
    open_visit(&w, &server, "client");

    resume = claimed(&v, 7, 0, 0, 2); /* alone */
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR);
    test_server_await_log(&server, "the further ones are not here");
    resume = claimed(&v, 7, 0, 1, TP_BUNDLE_MAX + 1);
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR);
    resume = claimed(&v, 7, 0, 2, 2);
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR);
    resume = claimed(&v, 7, 0, 1, 1);
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR);
    test_server_await_log(&server, "may not go by so many connections");
    resume = claimed(&v, 7, 0, 1, 0);
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR);
    /* Another session's, with a good key of its own: by tls not even that is heard. */
    if (strcmp(scheme->name, "tcp") == 0) {
        resume = claimed(&w, 7, 0, 1, 2);
        resume.session_id = v.id;
        cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR);
    } else {
        cr_assert_eq(dial(&v, v.id, w.key, &lane), GP_ERR_AUTH);
    }

    said = claimed(&v, 7, 0, 1, 3);
    cr_assert_eq(bring(&v, &said, &kept), WIRE_CONTROL_RESUMED);
    cr_assert_eq(bring(&v, &said, &lane), WIRE_CONTROL_ERROR, "twice");
    resume = claimed(&v, 7, 0, 1, 2);
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR, "of another number");
    resume = claimed(&v, 7, 0, 0, 3);
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR, "one is missing");
    works(&v);

    /* The next attempt takes the place of this one, which is of no use from then on. */
    v.attempt = 7;
    tp_link_break(v.c.lane, "test");
    come_back(&v);
    works(&v);
    cr_assert_eq(bring(&v, &said, &lane), WIRE_CONTROL_ERROR);
    test_server_await_log(&server, "was said before");
    tp_close(kept);
    works(&w);
    leave(&w);
    leave(&v);
    test_server_stop(&server);
    test_certs_destroy();
}

Test(resume, one_line_is_enough_for_an_operator_who_says_so, .timeout = 60)
{
    struct test_server server = server_of("tls", "--lines-max=1");
    struct wire_resume resume;
    struct tp_lane *lane;
    struct visit v;

    open_visit(&v, &server, "client");
    cr_assert_eq(v.c.answer.lines_max, 1);
    resume = claimed(&v, 1, 0, 1, 2);
    cr_assert_eq(bring(&v, &resume, &lane), WIRE_CONTROL_ERROR);
    works(&v);
    leave(&v);
    test_server_stop(&server);
    test_certs_destroy();
}

/* --- another lane ---------------------------------------------------------------------------- */

/* From tls to shared memory, at a name that the session told: for whoever has its key, and for
 * nothing but to go on. */
Test(resume, goes_on_in_shared_memory, .timeout = 60)
{
    struct test_server server = server_of("tls", "--grace=60s");
    struct tp_opts opts = {.framing = &wire_framing};
    char why[TP_WHY_BYTES] = "";
    struct wire_resumed resumed;
    struct wire_resume resume;
    struct tp_frame frame;
    struct tp_lane *lane;
    uint64_t received;
    const char *url;
    struct visit v, w;

    open_visit(&v, &server, "client");
    cr_assert_eq(v.c.answer.lane_count, 1);
    url = v.c.answer.lanes[0];
    cr_assert_eq(strncmp(url, "shm://@gpupool-", 15), 0, "%s", url);
    cr_assert_null(strstr(server.url[1], "shm"), "nobody else is told of it");

    /* No session begins there, and nobody else's goes on. */
    opts.why = why;
    cr_assert_neq(tp_connect(url, &opts, &lane), GP_OK);
    cr_assert_neq(dial_at(url, v.id ^ 1, v.key, &lane), GP_OK);
    open_visit(&w, &server, "client");
    cr_assert_eq(dial_at(url, v.id, w.key, &lane), GP_OK);
    resume = honest(&w, 0);
    resume.session_id = v.id;
    say_resume(lane, &resume);
    cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_ERROR);
    tp_close(lane);
    works(&v);

    cr_assert_eq(dial_at(url, v.id, v.key, &lane), GP_OK);
    cr_assert_eq(tp_link_detach(v.c.lane, &received), GP_OK);
    resume = honest(&v, received);
    say_resume(lane, &resume);
    cr_assert_eq(hear_answer(lane, &resumed), WIRE_CONTROL_RESUMED);
    tp_set_max_payload(lane, WIRE_FRAME_PAYLOAD_MAX);
    cr_assert_eq(tp_link_attach(v.c.lane, lane, resumed.received_bytes), GP_OK);
    tp_link_catch_up(v.c.lane);
    cr_assert_str_eq(tp_scheme(v.c.lane), "shm");
    works(&v);
    /* It is there to stay: not even its own key takes it away. */
    cr_assert_eq(tp_link_detach(v.c.lane, &received), GP_ERR_NOT_SUPPORTED);
    cr_assert_eq(dial(&v, v.id, v.key, &lane), GP_OK);
    resume = honest(&v, received);
    say_resume(lane, &resume);
    cr_assert_neq(tp_recv_frame(lane, &frame, SOON), GP_OK);
    tp_close(lane);
    works(&v);
    leave(&v);
    leave(&w);
    test_server_stop(&server);
    test_certs_destroy();
}

/* A port for RDMA is told of beside it, and whoever cannot use it stays where he is. */
Test(resume, every_lane_there_is_is_offered, .timeout = 60)
{
    static const char *const args[] = {"--listen=tls://127.0.0.1:0", "--listen=rdma://127.0.0.1:0",
                                       "--rdma-fabric=none0"};
    const char *all[8] = {args[0], args[1], args[2]};
    struct test_server server;
    struct tp_lane *lane;
    char url[64];
    unsigned port;
    struct visit v;

    (void)test_certs_create();
    test_certs_server_args(all + 3);
    server = test_server_start(all);
    open_visit(&v, &server, "client");
    cr_assert_eq(v.c.answer.lane_count, 2);
    cr_assert_eq(sscanf(v.c.answer.lanes[1], "rdma://*:%u", &port), 1, "%s", v.c.answer.lanes[1]);
    snprintf(url, sizeof(url), "rdma://127.0.0.1:%u", port);
    cr_assert_str_eq(url, server.url[1]);
    cr_assert_neq(dial_at(url, v.id, v.key, &lane), GP_OK, "no fabric is allowed");
    works(&v);
    leave(&v);
    test_server_stop(&server);
    test_certs_destroy();
}

Test(resume, shared_memory_is_not_offered_where_it_is_not_wanted, .timeout = 60)
{
    struct test_server server = server_of("tls", "--offer-shm=no");
    struct visit v;

    open_visit(&v, &server, "client");
    cr_assert_eq(v.c.answer.lane_count, 0);
    leave(&v);
    test_server_stop(&server);
    test_certs_destroy();
}
