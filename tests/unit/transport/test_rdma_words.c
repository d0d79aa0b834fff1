/* tests/unit/transport/test_rdma_words.c -- what RDMA lanes say of themselves, without a device */
#include "transport/rdma/offer.h"
#include "transport/rdma/rdma.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const struct tp_rdma_offer good = {
    .layer = TP_RDMA_LAYER_ETHERNET,
    .mtu = 3,
    .lid = 0x1234,
    .gid = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = 9, [15] = 1},
    .out_qpn = 0xabcdef,
    .out_psn = 1,
    .in_qpn = 2,
    .in_psn = 0xffffff,
    .ring_address = 0x7f0123456000,
    .ring_key = 0xdeadbeef,
    .ring_bytes = 2u << 20,
    .messages = 256,
    .reads = 4,
    .rails = 3,
    .key_word = 0xfedcba9876543210,
};

Test(rdma_words, an_offer_is_read_as_it_was_written)
{
    uint8_t bytes[TP_RDMA_OFFER_BYTES];
    struct tp_rdma_offer got;

    tp_rdma_offer_encode(&good, bytes);
    cr_assert_eq(tp_rdma_offer_decode(bytes, sizeof(bytes), &got), GP_OK);
    cr_assert_eq(got.layer, good.layer);
    cr_assert_eq(got.mtu, good.mtu);
    cr_assert_eq(got.lid, good.lid);
    cr_assert_eq(memcmp(got.gid, good.gid, 16), 0);
    cr_assert_eq(got.out_qpn, good.out_qpn);
    cr_assert_eq(got.out_psn, good.out_psn);
    cr_assert_eq(got.in_qpn, good.in_qpn);
    cr_assert_eq(got.in_psn, good.in_psn);
    cr_assert_eq(got.ring_address, good.ring_address);
    cr_assert_eq(got.ring_key, good.ring_key);
    cr_assert_eq(got.ring_bytes, good.ring_bytes);
    cr_assert_eq(got.messages, good.messages);
    cr_assert_eq(got.reads, good.reads);
    cr_assert_eq(got.rails, good.rails);
    cr_assert_eq(got.key_word, good.key_word);
}

Test(rdma_words, a_piece_is_read_as_it_was_written_and_within_bounds)
{
    static const struct tp_rdma_piece whole = {0x7f0123456789, TP_RDMA_PIECE_MAX, 0xdeadbeef};
    static const struct tp_rdma_piece bad[] = {
        {0x1000, 0, 1}, {0x1000, TP_RDMA_PIECE_MAX + 1ull, 1}, {UINT64_MAX - 10, 11, 1}};
    struct tp_rdma_piece railed = whole;
    uint8_t bytes[TP_RDMA_PIECE_MOST];
    struct tp_rdma_piece got;

    tp_rdma_piece_encode(&whole, 0, bytes);
    cr_assert_eq(tp_rdma_piece_decode(bytes, 0, &got), GP_OK);
    cr_assert_eq(got.address, whole.address);
    cr_assert_eq(got.bytes, whole.bytes);
    cr_assert_eq(got.key, whole.key);
    bytes[TP_RDMA_PIECE_BYTES - 1] = 1;
    cr_assert_eq(tp_rdma_piece_decode(bytes, 0, &got), GP_ERR_PROTOCOL, "a rail too many");
    railed.by = 5;
    railed.keys[0] = 11;
    railed.keys[2] = 13;
    tp_rdma_piece_encode(&railed, 3, bytes);
    cr_assert_eq(tp_rdma_piece_decode(bytes, 3, &got), GP_OK);
    cr_assert_eq(got.by, 5);
    cr_assert_eq(got.keys[0], 11);
    cr_assert_eq(got.keys[2], 13);
    cr_assert_eq(tp_rdma_piece_decode(bytes, 2, &got), GP_ERR_PROTOCOL, "of a rail that is none");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tp_rdma_piece_encode(&bad[i], 0, bytes);
        cr_assert_eq(tp_rdma_piece_decode(bytes, 0, &got), GP_ERR_PROTOCOL);
    }
}

Test(rdma_words, a_list_of_rails_is_read_as_it_was_written_and_within_bounds)
{
    struct tp_rdma_rail_offer rails[TP_RDMA_RAILS], got[TP_RDMA_RAILS], bad;
    uint8_t bytes[(TP_RDMA_RAILS + 1) * TP_RDMA_RAIL_BYTES] = {0};
    size_t count = 0;

    for (uint8_t i = 0; i < TP_RDMA_RAILS; i++)
        rails[i] = (struct tp_rdma_rail_offer){.place = (uint8_t)(TP_RDMA_RAILS - 1 - i),
                                               .layer = TP_RDMA_LAYER_ETHERNET,
                                               .mtu = 4,
                                               .reads = 3,
                                               .lid = 7,
                                               .gid = {10, i},
                                               .qpn = 17u + i,
                                               .psn = 0xffffff};
    tp_rdma_rails_encode(rails, TP_RDMA_RAILS, bytes);
    cr_assert_eq(tp_rdma_rails_decode(bytes, TP_RDMA_RAILS * TP_RDMA_RAIL_BYTES, got, &count),
                 GP_OK);
    cr_assert_eq(count, TP_RDMA_RAILS);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(got[i].place, rails[i].place);
        cr_assert_eq(got[i].lid, 7);
        cr_assert_eq(got[i].gid[1], i);
        cr_assert_eq(got[i].qpn, 17 + i);
        cr_assert_eq(got[i].psn, 0xffffff);
    }
    cr_assert_eq(tp_rdma_rails_decode(bytes, 0, got, &count), GP_OK);
    cr_assert_eq(count, 0);
    cr_assert_eq(tp_rdma_rails_decode(bytes, 31, got, &count), GP_ERR_PROTOCOL);
    cr_assert_eq(tp_rdma_rails_decode(bytes, sizeof(bytes), got, &count), GP_ERR_PROTOCOL);
    rails[1].place = rails[0].place;
    tp_rdma_rails_encode(rails, 2, bytes);
    cr_assert_eq(tp_rdma_rails_decode(bytes, 64, got, &count), GP_ERR_PROTOCOL, "a place twice");
#define BAD_RAIL(field, value)                                                                     \
    bad = rails[0];                                                                                \
    bad.field = (value);                                                                           \
    tp_rdma_rails_encode(&bad, 1, bytes);                                                          \
    cr_assert_eq(tp_rdma_rails_decode(bytes, 32, got, &count), GP_ERR_PROTOCOL, #field)
    BAD_RAIL(place, TP_RDMA_RAILS);
    BAD_RAIL(layer, 3);
    BAD_RAIL(mtu, 6);
    BAD_RAIL(reads, 0);
    BAD_RAIL(qpn, 1u << 24);
    BAD_RAIL(psn, 1u << 24);
}

static struct tp_rdma_port
port_at(const char *device, uint8_t number, const char *address)
{
    struct tp_rdma_port port = {.port = number, .layer = TP_RDMA_LAYER_ETHERNET};

    snprintf(port.device, sizeof(port.device), "%s", device);
    if (strchr(address, ':') != NULL) {
        cr_assert_eq(inet_pton(AF_INET6, address, port.gid), 1);
        return port;
    }
    port.gid[10] = port.gid[11] = 0xff;
    cr_assert_eq(inet_pton(AF_INET, address, port.gid + 12), 1);
    return port;
}

/* Each port of the client's goes with the one of ours that is on its network. */
Test(rdma_words, ports_go_together_by_their_networks)
{
    const struct tp_rdma_port ours[] = {
        port_at("a", 1, "10.1.0.9"), port_at("b", 1, "fe80::1"), port_at("b", 1, "10.2.0.9"),
        port_at("c", 1, "10.3.0.9"), port_at("c", 2, "fd00::9"),
    };
    const char *const addresses[] = {"10.3.0.1", "10.1.0.1", "fd00::1", "10.200.0.1"};
    struct tp_rdma_match matches[4];
    uint8_t theirs[4][16];
    size_t n;

    for (size_t i = 0; i < 4; i++)
        memcpy(theirs[i], port_at("x", 1, addresses[i]).gid, 16);
    n = tp_rdma_match((const uint8_t(*)[16])theirs, 4, ours, 5, matches, 4);
    cr_assert_eq(n, 4);
    for (size_t i = 0; i < n; i++) {
        static const size_t with[] = {3, 0, 4, 2};

        cr_assert_eq(matches[i].ours, with[matches[i].theirs]);
    }
    cr_assert_eq(tp_rdma_match((const uint8_t(*)[16])theirs, 4, ours, 5, matches, 2), 2);
    cr_assert_eq(tp_rdma_match((const uint8_t(*)[16])theirs, 2, ours + 4, 1, matches, 4), 0,
                 "no way from one family to the other");
}

Test(rdma_words, other_ports_are_those_of_the_same_kind_that_are_allowed)
{
    const char *fabric[] = {"b", "c:2", "d"};
    const struct tp_rdma_opts some = {fabric, 3, 0};
    struct tp_rdma_port ports[] = {
        port_at("b", 1, "10.1.0.9"), port_at("b", 2, "fe80::1"),  port_at("b", 2, "10.2.0.9"),
        port_at("c", 1, "10.3.0.9"), port_at("c", 2, "10.4.0.9"), port_at("d", 1, "10.5.0.9"),
    };
    struct tp_rdma_port found[6];
    size_t n;

    ports[5].layer = TP_RDMA_LAYER_INFINIBAND;
    n = tp_rdma_others(ports, 6, &ports[0], &some, found);
    cr_assert_eq(n, 3);
    n = tp_rdma_one_each(found, n, 7);
    cr_assert_eq(n, 2);
    cr_assert_eq(memcmp(found[0].gid, ports[2].gid, 16), 0, "what leaves the cable goes first");
    cr_assert_str_eq(found[1].device, "c");
    n = tp_rdma_others(ports, 6, &ports[0], NULL, found);
    cr_assert_eq(n, 4);
    cr_assert_eq(tp_rdma_one_each(found, n, 1), 1);
}

static void
refused(const struct tp_rdma_offer *offer)
{
    uint8_t bytes[TP_RDMA_OFFER_BYTES];
    struct tp_rdma_offer got;

    tp_rdma_offer_encode(offer, bytes);
    cr_assert_eq(tp_rdma_offer_decode(bytes, sizeof(bytes), &got), GP_ERR_PROTOCOL);
}

#define BAD(field, value)                                                                          \
    do {                                                                                           \
        struct tp_rdma_offer bad = good;                                                           \
                                                                                                   \
        bad.field = (value);                                                                       \
        refused(&bad);                                                                             \
    } while (0)

Test(rdma_words, offers_that_cannot_be_are_refused)
{
    uint8_t bytes[TP_RDMA_OFFER_BYTES + 1] = {0};
    struct tp_rdma_offer got;

    BAD(layer, 0);
    BAD(layer, 3);
    BAD(mtu, 0);
    BAD(mtu, 6);
    BAD(out_qpn, 1u << 24);
    BAD(out_psn, 1u << 24);
    BAD(in_qpn, 1u << 24);
    BAD(in_psn, UINT32_MAX);
    BAD(ring_address, UINT64_MAX - 4096);
    BAD(ring_bytes, 0);
    BAD(ring_bytes, TP_RDMA_RING_MIN / 2);
    BAD(ring_bytes, TP_RDMA_RING_MAX * 2);
    BAD(ring_bytes, (2u << 20) + 1);
    BAD(messages, 0);
    BAD(messages, TP_RDMA_MESSAGES_MAX + 1);
    tp_rdma_offer_encode(&good, bytes);
    cr_assert_eq(tp_rdma_offer_decode(bytes, sizeof(bytes), &got), GP_ERR_PROTOCOL);
    cr_assert_eq(tp_rdma_offer_decode(bytes, 0, &got), GP_ERR_PROTOCOL);
}

Test(rdma_words, frames_are_measured)
{
    uint8_t header[TP_RDMA_HEADER_BYTES];
    uint32_t bytes = 7;

    tp_rdma_header_encode(TP_RDMA_REFUSAL, 200, header);
    cr_assert_eq(tp_rdma_framing.measure(header, 255, &bytes), GP_OK);
    cr_assert_eq(bytes, 200);
    cr_assert_eq(tp_rdma_header_kind(header), TP_RDMA_REFUSAL);
    cr_assert_eq(tp_rdma_framing.measure(header, 199, &bytes), GP_ERR_LIMIT);
    tp_rdma_header_encode(TP_RDMA_OFFER, TP_RDMA_TEXT_MAX + 1, header);
    cr_assert_eq(tp_rdma_framing.measure(header, UINT32_MAX, &bytes), GP_ERR_LIMIT);
    tp_rdma_header_encode(TP_RDMA_OFFER, 1, header);
    header[6] ^= 2; /* another version */
    cr_assert_eq(tp_rdma_framing.measure(header, 255, &bytes), GP_ERR_PROTOCOL);
    tp_rdma_header_encode(TP_RDMA_OFFER, 1, header);
    header[0] ^= 1;
    cr_assert_eq(tp_rdma_framing.measure(header, 255, &bytes), GP_ERR_PROTOCOL);
}

Test(rdma_words, counts_are_continued_across_their_low_half)
{
    cr_assert_eq(tp_rdma_count(0, 5), 5);
    cr_assert_eq(tp_rdma_count(0xfffffffe, 0xfffffffe), 0xfffffffe);
    cr_assert_eq(tp_rdma_count(0xfffffffe, 3), 0x100000003);
    cr_assert_eq(tp_rdma_count(0x300000010, 0x10), 0x300000010);
    cr_assert_eq(tp_rdma_count(0x300000010, 0xf), 0x40000000f, "never back");
}

static bool
allows(const char *fabric, const uint8_t *gid)
{
    struct tp_rdma_port port = {.device = "mlx5_1", .port = 2};
    struct tp_rdma_opts opts = {&fabric, 1};

    cr_assert_eq(tp_rdma_fabric_check(fabric), GP_OK, "%s", fabric);
    memcpy(port.gid, gid, 16);
    return tp_rdma_allowed(&opts, &port);
}

Test(rdma_words, a_list_of_fabrics_means_devices_ports_and_networks)
{
    static const uint8_t v6[16] = {0xfd, 0x12, [15] = 1};
    struct tp_rdma_opts none = {NULL, 0};
    struct tp_rdma_port port = {.device = "mlx5_1", .port = 2};

    cr_assert_not(tp_rdma_allowed(&none, &port));
    cr_assert(allows("*", v6));
    cr_assert(allows("mlx5_1", v6));
    cr_assert(allows("mlx5_1:2", v6));
    cr_assert_not(allows("mlx5_1:1", v6));
    cr_assert_not(allows("mlx5_10", v6));
    cr_assert(allows("10.9.0.0/24", good.gid));
    cr_assert(allows("10.9.0.1/32", good.gid));
    cr_assert(allows("10.8.0.0/15", good.gid));
    cr_assert_not(allows("10.9.0.0/32", good.gid));
    cr_assert_not(allows("10.9.1.0/24", good.gid));
    cr_assert_not(allows("10.9.0.0/24", v6));
    cr_assert(allows("0.0.0.0/0", good.gid));
    cr_assert_not(allows("0.0.0.0/0", v6));
    cr_assert(allows("fd00::/8", v6));
    cr_assert(allows("fd12::1/128", v6));
    cr_assert_not(allows("fd13::/16", v6));
    cr_assert_eq(tp_rdma_fabric_check(""), GP_ERR_INVALID);
    cr_assert_eq(tp_rdma_fabric_check("10.9.0.0/33"), GP_ERR_INVALID);
    cr_assert_eq(tp_rdma_fabric_check("fd00::/129"), GP_ERR_INVALID);
    cr_assert_eq(tp_rdma_fabric_check("a b"), GP_ERR_INVALID);
}

Test(rdma_words, a_port_is_named_with_its_address)
{
    struct tp_rdma_port port = {.device = "rxe0", .port = 1};
    char text[128];

    memcpy(port.gid, good.gid, 16);
    tp_rdma_port_text(&port, text, sizeof(text));
    cr_assert_str_eq(text, "rxe0:1 10.9.0.1");
    port.gid[0] = 0xfd;
    tp_rdma_port_text(&port, text, sizeof(text));
    cr_assert_eq(strncmp(text, "rxe0:1 fd00:", 12), 0, "%s", text);
}

/* Where there is none, it is said why; elsewhere the ports are there. */
Test(rdma_words, a_machine_without_a_device_says_so)
{
    struct tp_rdma_port ports[4];
    char why[TP_WHY_BYTES] = "";

    if (tp_rdma_probe(ports, 4, why) == 0)
        cr_assert_eq(strncmp(why, "rdma: ", 6), 0, "%s", why);
}
