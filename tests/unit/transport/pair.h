/* tests/unit/transport/pair.h -- two joined lanes of any transport, and frames to send */
#ifndef TEST_PAIR_H
#define TEST_PAIR_H

#include "protocol/base/util.h"
#include "protocol/wire/frame.h"
#include "transport/loop/loop.h"
#include "transport/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Criterion copies parameters into another process: bytes, no pointers. */
struct transport_param {
    char name[8];
};

struct test_pair {
    struct tp_lane *client, *server;
};

/* Options that carry the frame format and, for tls, good credentials. */
struct tp_opts test_client_opts(void);
struct tp_opts test_server_opts(void);

/* One server that adopts one connection in a thread of its own. */
struct test_acceptor;
struct test_acceptor *test_acceptor_start(const char *url, const struct tp_opts *opts);
const char *test_acceptor_url(const struct test_acceptor *acceptor);
/* Waits for the adoption; frees. */
enum gp_status test_acceptor_finish(struct test_acceptor *acceptor, struct tp_lane **lane_p);

/* spin_us and max_payload_bytes are taken from common; certificates are made for tls. "tls+" is a
 * bundle of three. */
/* So many ports carry bulk of an rdma pair; 1 unless a test says otherwise. */
extern uint32_t test_rdma_ports;
void test_pair_open(const char *name, const struct tp_opts *common, struct test_pair *pair);
void test_pair_close(struct test_pair *pair);

/* A DATA frame whose payload is a pattern that seed gives. */
void test_fill(uint8_t *data, size_t bytes, uint32_t seed);
bool test_is_filled(const uint8_t *data, size_t bytes, uint32_t seed);
enum gp_status test_send(struct tp_lane *lane, uint32_t tag, const void *payload, size_t bytes);
/* Tag of a received header. */
uint32_t test_tag(const struct tp_frame *frame);

uint64_t test_soon(void); /* a deadline that a good test never reaches: 20 s */

#endif
