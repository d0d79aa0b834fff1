/* tests/support/client.h -- a client that speaks the protocol itself, good and bad
 *
 * One thread. Every receive has a deadline, so that a server that says nothing fails the test
 * instead of hanging it.
 */
#ifndef TEST_CLIENT_H
#define TEST_CLIENT_H

#include "protocol/base/buf.h"
#include "protocol/wire/control.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/frame.h"
#include "transport/transport.h"
#include "wire_calls.h"

#include <stdbool.h>
#include <stdint.h>

/* A client's name for an object: its slot and the first generation of it. */
#define ID(index) (1ull << 32 | (index))

struct test_client {
    struct tp_lane *lane;
    struct wire_hello server; /* what it said */
    struct wire_open_answer answer;
    struct wire_error_answer refused; /* code not 0: it refused */
    struct gp_buf row;                /* records not sent yet */
    uint32_t records, tags;
    uint64_t seq;
    uint32_t context; /* of the records that are added */

    /* Of the last reply. */
    struct wire_result result;
    uint8_t *reply; /* its fields */
    size_t reply_len;
    uint32_t reply_tag;

    /* What came beside replies. */
    struct gp_buf data; /* bytes of all DATA frames, in order */
    uint32_t data_id, data_last, data_failed;
    struct gp_buf print;
    struct gp_buf freed;   /* uint64_t each */
    struct gp_buf notices; /* records of gpNoticeHost and gpNoticePull */
    uint32_t pongs;
    bool bye;
    uint32_t bye_code;
};

/* Connect and open, or fill refused. tls may be NULL. */
bool test_client_open(struct test_client *c, const char *url, const struct tp_tls_opts *tls);
/* The same, offering features (WIRE_FEATURE_*). */
bool test_client_open_with(struct test_client *c, const char *url, const struct tp_tls_opts *tls,
                           uint64_t features);
/* Connect and say hello only, with these fields. */
bool test_client_hello(struct test_client *c, const char *url, const struct wire_hello *hello);
/* BYE, and wait for the server's end of the line. */
void test_client_close(struct test_client *c);
/* As kill -9 would: the socket is just gone. */
void test_client_abandon(struct test_client *c);

/* Room for the arguments of one more record; a tag is given where the call has a reply. */
uint8_t *test_client_add(struct test_client *c, uint16_t call, size_t bytes);
#define TEST_ADD(c, name, ...)                                                                     \
    do {                                                                                           \
        struct wire_##name##_args test_args = {__VA_ARGS__};                                       \
        wire_put_##name##_args(                                                                    \
            test_client_add(c, WIRE_CALL_##name, wire_size_##name##_args(&test_args)),             \
            &test_args);                                                                           \
    } while (0)
void test_client_send(struct test_client *c);
/* Send bytes as the payload of one frame of any kind. */
void test_client_frame(struct test_client *c, enum wire_frame_kind kind, uint32_t tag,
                       const void *payload, size_t bytes);
/* Receive until the reply of tag (0: of the record added last) is here; its result, or -1 if the
 * session ended before. */
int test_client_wait(struct test_client *c, uint32_t tag);
/* Receive one frame; false at the end of the line. */
bool test_client_receive(struct test_client *c, uint64_t deadline_ns);
/* Send what was added and wait for the last one's reply. */
int test_client_call(struct test_client *c);

/* What every session does first: connect and open, or fail the test, and test_client_begin(). */
void test_client_start(struct test_client *c, const char *url);
/* Retain the first device's primary context as ID(1), which the next records are for. */
void test_client_begin(struct test_client *c);
/* What became of the calls without reply that were added. */
int test_client_deferred(struct test_client *c);

/* Upload an image and load it as module id; the result. */
int test_client_module(struct test_client *c, uint64_t id, const char *ptx);
/* The row of a kernel in the table that the last reply brought; -1. */
int test_client_kernel(struct test_client *c, const char *name);

#endif
