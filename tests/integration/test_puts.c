/* tests/integration/test_puts.c -- copies from a session on one server to a session on another
 *
 * Here the client of a session is also the other server, good or bad: it knows the tokens.
 */
#include "tests/support/client.h"
#include "tests/support/server.h"
#include "tests/unit/transport/certs.h"

#include "protocol/wire/negotiate.h"
#include "protocol/wire/preface.h"
#include "protocol/wire/put.h"
#include "transport/link/link.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SOON  (gp_now_ns() + 20 * GP_NS_PER_S)
#define BYTES (3u * WIRE_PUT_BLOCK + 12)

static struct test_server server;
static struct test_client c;
static uint64_t base;
static uint8_t pattern[BYTES];

/* What the session gave out. */
struct token {
    uint64_t session;
    struct wire_put put;
    uint8_t bytes[WIRE_PUT_TOKEN_BYTES];
};

static void
begin_with(const char *scheme, const char *more, const char *still_more)
{
    static char listen[64];
    const char *args[] = {listen, NULL, NULL, NULL, "--grace=60s", more, still_more, NULL};
    struct tp_link_opts opts = {0};
    struct tp_tls_opts tls;

    (void)test_certs_create();
    snprintf(listen, sizeof(listen), "--listen=%s://127.0.0.1:0", scheme);
    test_certs_server_args(args + 1);
    server = test_server_start(args);
    tls = test_certs_opts("client", "ca");
    memset(&c, 0, sizeof(c));
    cr_assert(test_client_open_with(&c, server.url[0], &tls, WIRE_FEATURE_RESUME), "%s",
              c.refused.reason);
    cr_assert_eq(tp_link_wrap(c.lane, &opts, &c.lane), GP_OK);
    test_client_begin(&c);
    base = c.answer.device_range.base;
    TEST_ADD(&c, cuMemAlloc_v2, .address = base, .bytes = 2 * BYTES);
    TEST_ADD(&c, cuStreamCreateWithPriority, .phStream = ID(1), .flags = 1);
    TEST_ADD(&c, cuMemsetD8Async, .dst = base, .value = 0xee, .count = 2 * BYTES);
    TEST_ADD(&c, cuCtxSynchronize, 0); /* the stream of the tests waits for none */
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    for (unsigned i = 0; i < BYTES; i++)
        pattern[i] = (uint8_t)(i * 7 + i / 251);
}

static void
finish(void)
{
    test_client_frame(&c, WIRE_FRAME_BYE, WIRE_CODE_OK, NULL, 0);
    tp_close(c.lane);
    test_server_stop(&server);
}

static int
token_ask(uint64_t dst, uint64_t bytes, struct token *token)
{
    struct wire_gpPutToken_reply reply;
    int cr;

    memset(token, 0, sizeof(*token));
    TEST_ADD(&c, gpPutToken, .dst = dst, .bytes = bytes, .stream = ID(1));
    cr = test_client_call(&c);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr_assert(wire_get_gpPutToken_reply(c.reply, c.reply_len, &reply));
    cr_assert_eq(reply.token_len, WIRE_PUT_TOKEN_BYTES);
    token->session = reply.session;
    memcpy(token->bytes, reply.token, reply.token_len);
    token->put.bytes = bytes;
    cr_assert_eq(
        wire_put_token_decode(reply.token, reply.token_len, &token->put.id, token->put.secret),
        GP_OK);
    return cr;
}

static struct token
token_of(uint64_t dst, uint64_t bytes)
{
    struct token token;

    cr_assert_eq(token_ask(dst, bytes, &token), CUDA_SUCCESS);
    return token;
}

/* --- the other server ------------------------------------------------------------------- */

static enum gp_status
knock(const struct token *token, uint64_t id, struct tp_lane **lane_p)
{
    uint8_t preface[WIRE_PREFACE_BYTES];
    char why[TP_WHY_BYTES] = "", name[WIRE_PUT_NAME_MAX];
    struct tp_opts opts = {.framing = &wire_framing,
                           .preface = preface,
                           .preface_bytes = sizeof(preface),
                           .tls = {.psk = token->put.secret, .psk_name = name},
                           .why = why};

    wire_put_name(id, name);
    wire_preface_encode(token->session, preface);
    return tp_connect(server.url[0], &opts, lane_p);
}

static bool
say(struct tp_lane *lane, uint8_t kind, uint32_t tag, const void *payload, uint32_t bytes)
{
    struct wire_frame_header header = {.payload_bytes = bytes, .kind = kind, .tag = tag};
    uint8_t head[WIRE_FRAME_HEADER_BYTES];
    struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)payload, bytes}};

    wire_frame_encode(&header, head);
    return tp_send_by(lane, iov, 2, SOON) == GP_OK;
}

static bool
announce(struct tp_lane *lane, const struct wire_put *put)
{
    uint8_t message[WIRE_PUT_BYTES];

    wire_put_encode(put, message);
    return say(lane, WIRE_FRAME_HELLO, WIRE_CONTROL_PUT, message, sizeof(message));
}

static void
pour(struct tp_lane *lane, uint32_t from, uint32_t to)
{
    while (from < to) {
        uint32_t part = (uint32_t)gp_min_u64(to - from, WIRE_PUT_BLOCK);

        cr_assert(say(lane, WIRE_FRAME_DATA, 0, pattern + from, part));
        from += part;
    }
}

/* The word at the end; -1: none. */
static int
verdict(struct tp_lane *lane)
{
    struct wire_frame_header header;
    struct wire_put_done done;
    struct tp_frame frame;

    if (tp_recv_frame(lane, &frame, SOON) != GP_OK)
        return -1;
    cr_assert_eq(wire_frame_decode(frame.header, UINT32_MAX, &header), GP_OK);
    cr_assert(header.kind == WIRE_FRAME_HELLO && header.tag == WIRE_CONTROL_PUT_DONE);
    cr_assert_eq(wire_put_done_decode(frame.payload, frame.payload_bytes, &done), GP_OK);
    return done.result;
}

static struct tp_lane *
line_of(const struct token *token)
{
    struct tp_lane *lane = NULL;

    cr_assert_eq(knock(token, token->put.id, &lane), GP_OK);
    return lane;
}

/* How many bytes from base are the pattern's, and that nothing else was touched. */
static uint32_t
written(void)
{
    uint32_t n = 0;

    c.data.len = 0;
    TEST_ADD(&c, cuMemcpyDtoH_v2, .src = base, .bytes = 2 * BYTES, .data = 1 << 16 | 1);
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    cr_assert_eq(c.data.len, 2 * BYTES);
    while (n < BYTES && c.data.data[n] == pattern[n])
        n++;
    for (uint32_t i = n; i < 2 * BYTES; i++)
        cr_assert_eq(c.data.data[i], 0xee, "byte %u of what is nobody's is %#x", i, c.data.data[i]);
    return n;
}

/* --- tests ------------------------------------------------------------------------------ */

struct scheme {
    char name[8];
};

ParameterizedTestParameters(puts, come_whole_and_more_than_one_by_a_line)
{
    static struct scheme all[] = {{"tcp"}, {"tls"}};

    return cr_make_param_array(struct scheme, all, GP_ARRAY_LEN(all));
}

ParameterizedTest(struct scheme *scheme, puts, come_whole_and_more_than_one_by_a_line,
                  .timeout = 60)
{
    struct token first, second;
    struct tp_lane *lane;

    begin_with(scheme->name, NULL, NULL);
    first = token_of(base, BYTES - 4);
    second = token_of(base + BYTES - 4, 4);
    lane = line_of(&first);
    cr_assert(announce(lane, &first.put));
    pour(lane, 0, BYTES - 4);
    cr_assert_eq(verdict(lane), CUDA_SUCCESS);
    cr_assert(announce(lane, &second.put));
    pour(lane, BYTES - 4, BYTES);
    cr_assert_eq(verdict(lane), CUDA_SUCCESS);
    cr_assert_eq(written(), BYTES);
    tp_close(lane);
    finish();
}

TestSuite(puts, .timeout = 60);

Test(puts, tokens_are_made_for_memory_that_is_there)
{
    struct token token;

    begin_with("tls", NULL, NULL);
    cr_assert_eq(token_ask(base, 0, &token), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(token_ask(base + (64u << 20), 4, &token), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(token_ask(base, UINT64_MAX, &token), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(token_ask(base - 1, 4, &token), CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, gpPutToken, .dst = base, .bytes = 4, .stream = ID(9));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_HANDLE);
    for (int i = 0; i < 256; i++)
        cr_assert_eq(token_ask(base, 4, &token), CUDA_SUCCESS);
    cr_assert_eq(token_ask(base, 4, &token), CUDA_ERROR_OUT_OF_MEMORY);
    TEST_ADD(&c, gpPutDrop, .id = token.put.id);
    cr_assert_eq(written(), 0);
    finish();
}

Test(puts, a_token_is_good_once)
{
    struct token token, other;
    struct tp_lane *lane;

    begin_with("tls", NULL, NULL);
    token = token_of(base, 8);
    other = token_of(base, BYTES);
    lane = line_of(&token);
    cr_assert(announce(lane, &token.put));
    pour(lane, 0, 8);
    cr_assert_eq(verdict(lane), CUDA_SUCCESS);
    cr_assert(announce(lane, &token.put));
    cr_assert_eq(verdict(lane), CUDA_ERROR_NOT_PERMITTED);
    cr_assert_eq(verdict(lane), -1); /* and hangs up */
    tp_close(lane);
    cr_assert_neq(knock(&token, token.put.id, &lane), GP_OK);
    lane = line_of(&other); /* an honest one comes through still */
    cr_assert(announce(lane, &other.put));
    pour(lane, 0, BYTES);
    cr_assert_eq(verdict(lane), CUDA_SUCCESS);
    cr_assert_eq(written(), BYTES);
    tp_close(lane);
    finish();
}

Test(puts, a_token_that_nobody_made_opens_nothing)
{
    struct token token, forged;
    struct tp_lane *lane;

    begin_with("tls", NULL, NULL);
    token = forged = token_of(base, 8);
    cr_assert_neq(knock(&forged, forged.put.id + 2, &lane), GP_OK); /* another's name */
    forged.put.secret[31] ^= 1;
    cr_assert_neq(knock(&forged, forged.put.id, &lane), GP_OK); /* not its secret */
    lane = line_of(&token);
    cr_assert(announce(lane, &forged.put));
    cr_assert_eq(verdict(lane), CUDA_ERROR_NOT_PERMITTED);
    tp_close(lane);
    lane = line_of(&token); /* who guessed wrong has not spent it */
    forged.put.id++;
    cr_assert(announce(lane, &forged.put));
    cr_assert_eq(verdict(lane), CUDA_ERROR_NOT_PERMITTED);
    tp_close(lane);
    cr_assert_eq(written(), 0);
    finish();
}

Test(puts, a_token_whose_time_is_over_opens_nothing)
{
    struct token token;
    struct tp_lane *lane;

    begin_with("tls", "--peer-time=0s", NULL);
    token = token_of(base, 8);
    cr_assert_neq(knock(&token, token.put.id, &lane), GP_OK);
    for (int i = 0; i < 300; i++) /* nor does it take a place */
        token = token_of(base, 8);
    cr_assert_eq(written(), 0);
    finish();
}

Test(puts, neither_more_nor_fewer_bytes_are_taken_than_the_token_is_for)
{
    static const int64_t off[] = {-4, 4, 1ll << 40};
    struct token token;
    struct tp_lane *lane;

    begin_with("tls", NULL, NULL);
    for (size_t i = 0; i < GP_ARRAY_LEN(off); i++) {
        token = token_of(base, 8);
        token.put.bytes += (uint64_t)off[i];
        lane = line_of(&token);
        cr_assert(announce(lane, &token.put));
        cr_assert_eq(verdict(lane), CUDA_ERROR_INVALID_VALUE);
        tp_close(lane);
    }
    token = token_of(base, 8);
    lane = line_of(&token);
    cr_assert(announce(lane, &token.put));
    cr_assert(say(lane, WIRE_FRAME_DATA, 0, pattern, 12)); /* longer than it said */
    cr_assert_eq(verdict(lane), CUDA_ERROR_INVALID_VALUE);
    tp_close(lane);
    token = token_of(base, BYTES);
    lane = line_of(&token);
    cr_assert(announce(lane, &token.put));
    (void)say(lane, WIRE_FRAME_DATA, 0, pattern, WIRE_PUT_BLOCK + 4); /* than any may be */
    cr_assert_neq(verdict(lane), CUDA_SUCCESS);
    tp_close(lane);
    cr_assert_eq(written(), 0);
    finish();
}

Test(puts, frames_that_do_not_belong_end_the_line)
{
    static const uint8_t kinds[] = {WIRE_FRAME_CALLS, WIRE_FRAME_HELLO, WIRE_FRAME_BYE,
                                    WIRE_FRAME_PING};
    struct token token;
    struct tp_lane *lane;

    begin_with("tls", NULL, NULL);
    for (size_t i = 0; i < GP_ARRAY_LEN(kinds); i++) {
        token = token_of(base, BYTES);
        lane = line_of(&token);
        cr_assert(announce(lane, &token.put));
        cr_assert(say(lane, kinds[i], WIRE_CONTROL_PUT, pattern, 8));
        cr_assert_eq(verdict(lane), CUDA_ERROR_INVALID_VALUE);
        tp_close(lane);
    }
    token = token_of(base, BYTES);
    lane = line_of(&token);
    cr_assert(say(lane, WIRE_FRAME_HELLO, WIRE_CONTROL_PUT, pattern, 8)); /* no PUT at all */
    cr_assert_neq(tp_recv_frame(lane, &(struct tp_frame){0}, SOON), GP_ERR_TIMEOUT);
    tp_close(lane);
    cr_assert_eq(written(), 0);
    finish();
}

Test(puts, a_source_that_stops_midway_spends_its_token_only)
{
    struct token token;
    struct tp_lane *lane;

    begin_with("tls", NULL, NULL);
    token = token_of(base, BYTES);
    lane = line_of(&token);
    cr_assert(announce(lane, &token.put));
    pour(lane, 0, WIRE_PUT_BLOCK);
    tp_close(lane);
    test_server_await_log(&server, "copies come from");
    cr_assert_neq(knock(&token, token.put.id, &lane), GP_OK);
    cr_assert_leq(written(), WIRE_PUT_BLOCK);
    finish();
}

/* What the client says behind its drop is not written over, however late the bytes are. */
Test(puts, nothing_is_written_behind_a_drop)
{
    struct token token;
    struct tp_lane *lane;

    begin_with("tls", NULL, NULL);
    token = token_of(base, BYTES);
    lane = line_of(&token);
    cr_assert(announce(lane, &token.put));
    pour(lane, 0, WIRE_PUT_BLOCK);
    TEST_ADD(&c, gpPutDrop, .id = token.put.id);
    TEST_ADD(&c, cuMemsetD8Async, .dst = base, .value = 0xee, .count = BYTES, .stream = ID(1));
    TEST_ADD(&c, cuStreamSynchronize, .stream = ID(1));
    cr_assert_eq(test_client_call(&c), CUDA_SUCCESS);
    for (uint32_t at = WIRE_PUT_BLOCK; at + WIRE_PUT_BLOCK <= BYTES; at += WIRE_PUT_BLOCK)
        (void)say(lane, WIRE_FRAME_DATA, 0, pattern + at, WIRE_PUT_BLOCK); /* it may hang up */
    cr_assert_neq(verdict(lane), CUDA_SUCCESS);
    cr_assert_eq(written(), 0);
    tp_close(lane);
    token = token_of(base, 8);
    TEST_ADD(&c, gpPutDrop, .id = token.put.id);
    cr_assert_eq(written(), 0);
    cr_assert_neq(knock(&token, token.put.id, &lane), GP_OK);
    finish();
}

Test(puts, end_with_their_context_and_their_session)
{
    struct token token;
    struct tp_lane *lane, *other;

    begin_with("tls", NULL, NULL);
    token = token_of(base, BYTES);
    lane = line_of(&token);
    cr_assert(announce(lane, &token.put));
    pour(lane, 0, WIRE_PUT_BLOCK);
    token = token_of(base, 8);
    TEST_ADD(&c, cuDevicePrimaryCtxReset_v2, .device = 0);
    TEST_ADD(&c, gpBarrier, 0);
    c.context = 0;
    (void)test_client_call(&c);
    cr_assert_neq(knock(&token, token.put.id, &other), GP_OK);
    finish(); /* with a line that is silent in the middle of a put */
    tp_close(lane);
}

/* --- what goes: we are where it goes to -------------------------------------------------- */

static int
put_send(const char *url, const struct token *token, uint64_t src, uint64_t bytes,
         struct wire_gpPutSend_reply *reply)
{
    int cr;

    memset(reply, 0, sizeof(*reply));
    TEST_ADD(&c, gpPutSend, .src = src, .bytes = bytes, .stream = ID(1), .session = 7,
             .token = token->bytes, .token_len = sizeof(token->bytes), .url = url,
             .url_len = (uint32_t)strlen(url));
    cr = test_client_call(&c);
    if (cr == CUDA_SUCCESS)
        cr_assert(wire_get_gpPutSend_reply(c.reply, c.reply_len, reply));
    return cr;
}

static struct token
any_token(void)
{
    struct token token = {.put = {.id = 5, .bytes = BYTES}};

    memset(token.put.secret, 3, sizeof(token.put.secret));
    wire_put_token_encode(token.put.id, token.put.secret, token.bytes);
    return token;
}

Test(puts, go_nowhere_that_the_operator_does_not_list)
{
    static const char *const urls[] = {"tls://127.0.0.1:9",  "tls://10.0.0.1:9", "tls://[::1]:9",
                                       "tls://localhost:9",  "tls://127.0.0.1",  "shm:///tmp/x",
                                       "tls://127.0.0.1:0",  "rubbish",          "rdma://1.1.1.1:9",
                                       "tls://0x7f000001:9", "tls://*:9"};
    struct token token = any_token();
    struct wire_gpPutSend_reply reply;

    begin_with("tls", "--peer=10.0.0.0/24", "--peer=192.168.1.1");
    for (size_t i = 0; i < GP_ARRAY_LEN(urls); i++) {
        if (i == 1)
            continue; /* it would be tried */
        cr_assert_eq(put_send(urls[i], &token, base, 8, &reply), CUDA_SUCCESS);
        cr_assert(reply.reached == 0 && reply.result != CUDA_SUCCESS && reply.why_len > 0, "%s",
                  urls[i]);
    }
    cr_assert_eq(put_send(urls[0], &token, base, 0, &reply), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(put_send(urls[0], &token, base + (64u << 20), 8, &reply),
                 CUDA_ERROR_INVALID_VALUE);
    TEST_ADD(&c, gpPutSend, .src = base, .bytes = 8, .stream = ID(1), .session = 7,
             .token = token.bytes, .token_len = 12, .url = urls[0],
             .url_len = (uint32_t)strlen(urls[0]));
    cr_assert_eq(test_client_call(&c), CUDA_ERROR_INVALID_VALUE);
    cr_assert_eq(written(), 0);
    finish();
}

/* Takes the connection as the other session would, its first blocks, and nothing more. */
static struct tp_lane *
receive_some(struct tp_listener *listener, const struct token *token, unsigned blocks)
{
    struct pollfd ready = {.fd = tp_listener_fd(listener), .events = POLLIN};
    struct tp_opts opts = {.framing = &wire_framing, .tls = {.psk = token->put.secret}};
    uint8_t preface[WIRE_PREFACE_BYTES];
    struct wire_frame_header header;
    struct tp_frame frame;
    struct wire_put put;
    struct tp_lane *lane;
    uint64_t session;
    int fd;

    cr_assert_eq(poll(&ready, 1, 20000), 1);
    cr_assert_eq(tp_accept(listener, &fd), GP_OK);
    ready.fd = fd;
    cr_assert_eq(poll(&ready, 1, 20000), 1);
    cr_assert_eq(recv(fd, preface, sizeof(preface), 0), (ssize_t)sizeof(preface));
    cr_assert_eq(wire_preface_decode(preface, &session), GP_OK);
    cr_assert_eq(session, 7);
    cr_assert_eq(tp_adopt("tcp", fd, TP_SERVER, &opts, &lane), GP_OK);
    cr_assert_eq(tp_recv_frame(lane, &frame, SOON), GP_OK);
    cr_assert_eq(wire_put_decode(frame.payload, frame.payload_bytes, &put), GP_OK);
    cr_assert_eq(put.id, token->put.id);
    for (unsigned i = 0; i < blocks; i++) {
        cr_assert_eq(tp_recv_frame(lane, &frame, SOON), GP_OK);
        cr_assert_eq(wire_frame_decode(frame.header, UINT32_MAX, &header), GP_OK);
        cr_assert_eq(header.kind, WIRE_FRAME_DATA);
    }
    return lane;
}

static void
send_to(struct tp_listener *listener, const struct token *token)
{
    const char *url = tp_listener_url(listener);

    TEST_ADD(&c, gpPutSend, .src = base, .bytes = BYTES, .stream = ID(1), .session = 7,
             .token = token->bytes, .token_len = sizeof(token->bytes), .url = url,
             .url_len = (uint32_t)strlen(url));
    test_client_send(&c);
}

static struct wire_gpPutSend_reply
answer_of_send(void)
{
    struct wire_gpPutSend_reply reply;

    cr_assert_eq(test_client_wait(&c, 0), CUDA_SUCCESS);
    cr_assert(wire_get_gpPutSend_reply(c.reply, c.reply_len, &reply));
    return reply;
}

Test(puts, a_destination_that_stops_or_lies_ends_that_copy_only)
{
    struct tp_opts opts = {.framing = &wire_framing};
    struct token token = any_token();
    uint8_t message[WIRE_PUT_DONE_BYTES];
    struct wire_gpPutSend_reply reply;
    struct wire_put_done done = {.result = CUDA_ERROR_NOT_PERMITTED};
    struct tp_listener *listener;
    struct tp_lane *lane;

    begin_with("tls", "--peer=127.0.0.0/8", NULL);
    cr_assert_eq(tp_listen("tcp://127.0.0.1:0", &opts, &listener), GP_OK);

    send_to(listener, &token); /* gone in the middle */
    tp_close(receive_some(listener, &token, 1));
    reply = answer_of_send();
    cr_assert(reply.reached == 1 && reply.result != CUDA_SUCCESS && reply.why_len > 0);

    send_to(listener, &token); /* no word of ours */
    lane = receive_some(listener, &token, 4);
    cr_assert(say(lane, WIRE_FRAME_HELLO, WIRE_CONTROL_PUT_DONE, pattern, 3));
    reply = answer_of_send();
    cr_assert(reply.reached == 1 && reply.result != CUDA_SUCCESS);
    tp_close(lane);

    send_to(listener, &token);
    lane = receive_some(listener, &token, 4);
    wire_put_done_encode(&done, message);
    cr_assert(say(lane, WIRE_FRAME_HELLO, WIRE_CONTROL_PUT_DONE, message, sizeof(message)));
    reply = answer_of_send();
    cr_assert(reply.reached == 1 && reply.result == CUDA_ERROR_NOT_PERMITTED);
    tp_close(lane);

    send_to(listener, &token); /* silent, while the session ends */
    lane = receive_some(listener, &token, 4);
    finish();
    tp_close(lane);
    tp_listener_close(listener);
}
