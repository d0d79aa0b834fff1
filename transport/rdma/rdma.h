/* transport/rdma/rdma.h -- lanes over RDMA: what is there, what is allowed, and the way to one
 *
 * A lane begins as a tls lane, whose two ends tell each other inside it where their memory lies and
 * which queue pairs they have; from then on the bytes travel by RDMA writes into the peer's ring,
 * unencrypted, and the tls lane only says whether the peer is there. Whoever was let in by TLS, and
 * nobody else, knows the keys; memory is registered in a protection domain of the lane's own, so
 * that keys of other sessions open nothing.
 *
 * In a build without verbs there are no ports, and everything else is refused with the reason.
 */
#ifndef TP_RDMA_H
#define TP_RDMA_H

#include "transport/transport.h"

#define TP_RDMA_DEVICE_MAX 63
#define TP_RDMA_PORTS_MAX  32

/* A port of a device that is up, by one of its addresses. */
struct tp_rdma_port {
    char device[TP_RDMA_DEVICE_MAX + 1]; /* "mlx5_0" */
    uint8_t port;
    uint8_t layer; /* TP_RDMA_LAYER_ (offer.h) */
    uint8_t mtu;   /* enum ibv_mtu */
    uint16_t lid;
    uint8_t gid_index;
    uint8_t gid[16];
};

/*
 * Which ports could carry a lane: InfiniBand, and Ethernet with RoCE v2. Opens each device briefly.
 *
 * The number of those put into ports, 0 with the reason in why (TP_WHY_BYTES, may be NULL).
 */
size_t tp_rdma_probe(struct tp_rdma_port *ports, size_t max, char *why);
/* "rxe0:1 10.9.0.1" */
void tp_rdma_port_text(const struct tp_rdma_port *port, char *out, size_t out_bytes);

/* True if a name of opts->rdma lists this port's fabric: "*", "mlx5_0", "mlx5_0:1", or a network
 * that its address is in ("10.9.0.0/16", "fd00::/8"). */
bool tp_rdma_allowed(const struct tp_rdma_opts *opts, const struct tp_rdma_port *port);
/* GP_ERR_INVALID, why says it: none of the above. */
GP_CHECK enum gp_status tp_rdma_fabric_check(const char *text);

/*
 * The addresses among these of ports other than one of them: on fabrics that allowed lists (NULL:
 * any), of the same layer. The number of those put into others, which takes count.
 */
size_t tp_rdma_others(const struct tp_rdma_port *ports, size_t count,
                      const struct tp_rdma_port *but, const struct tp_rdma_opts *allowed,
                      struct tp_rdma_port *others);
/* Of each port one address, those that leave the cable first; the number of those kept, at most
 * max. */
bool tp_rdma_leaves_cable(const struct tp_rdma_port *port);
size_t tp_rdma_one_each(struct tp_rdma_port *ports, size_t count, size_t max);

/* A port of the peer's and one of ours. */
struct tp_rdma_match {
    size_t theirs, ours;
};
/* Each port of theirs (by its address) goes with the one of ours that is nearest to it, the nearest
 * first, each once: by how much of the addresses is the same, as networks are made. The number of
 * those put into matches. */
size_t tp_rdma_match(const uint8_t (*theirs)[16], size_t their_count,
                     const struct tp_rdma_port *ours, size_t our_count,
                     struct tp_rdma_match *matches, size_t max);

/* What one lane needs to lock is within this process's limit; else why (TP_WHY_BYTES) says what to
 * raise. */
bool tp_rdma_memory_ok(char *why);

/*
 * Go on by RDMA with an open tls lane, in a moment when both ends have sent and received the same
 * frames whole. The ports are chosen by the addresses of the tls lane's line, then by the order of
 * the devices; the server takes only fabrics that opts->rdma lists.
 *
 * Ownership: takes tls in every case.
 * Errors:    GP_ERR_NOT_SUPPORTED: not built in, no port, or the server does not allow it;
 *            GP_ERR_LIMIT: no memory may be locked (the reason says what to raise); GP_ERR_IO: no
 *            way between the two ports; GP_ERR_PROTOCOL, GP_ERR_TIMEOUT, GP_ERR_CLOSED.
 */
GP_CHECK enum gp_status tp_rdma_upgrade(struct tp_lane *tls, enum tp_role role,
                                        const struct tp_opts *opts, struct tp_lane **lane_p);

#endif
