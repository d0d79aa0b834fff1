/* frontend/core/connect.h -- from a configuration to an open session; private to frontend/core */
#ifndef FE_CONNECT_H
#define FE_CONNECT_H

#include "frontend/core/config.h"
#include "frontend/core/line.h"

#define FE_WHY_BYTES 512

/*
 * Try the servers in order until one opens a session, or each of those that are named together
 * ("a+b") does; fills *all (zeros before) with those that have a device to show, whose lines are
 * not started.
 *
 * Ownership: what all points to lives as long as the process.
 * Errors:    what cuInit returns; why takes one line for the last server tried, and what to do; it
 *            is empty where the transport has logged that line.
 */
CUresult fe_connect(const struct fe_config *config, uint64_t deadline_ns, struct fe_sessions *all,
                    char why[FE_WHY_BYTES]);

/* How long to wait until a server is asked again, after so long in vain. */
uint64_t fe_wait_pause_ns(uint64_t waited_ns);

/* A line to a server that is only asked about its devices: no addresses, no memory. */
struct fe_monitor {
    struct tp_lane *lane;
    struct wire_open_answer answer;
    struct wire_call_set calls; /* what the server can execute */
    uint32_t max_payload_bytes;
};

/* The same for monitors: of one server, or of each of those that are named together. Ownership:
 * the caller's, to be finished with fe_monitor_close(), or in a child of the process that opened
 * them by hand. */
CUresult fe_connect_monitors(const struct fe_config *config, uint64_t deadline_ns,
                             struct fe_monitor monitors[FE_SERVERS_MAX], unsigned *count_p,
                             char why[FE_WHY_BYTES]);
/* Of this server only. */
CUresult fe_connect_monitor(const struct fe_config *config, size_t which, uint64_t deadline_ns,
                            struct fe_monitor *monitor, char why[FE_WHY_BYTES]);
/* Waits a little at most. */
void fe_monitor_close(struct fe_monitor *monitor);

/* What the user wants of connections, for each of them. */
/* The names of fabrics are put into fabrics, which opts then points to. */
void fe_socket_fill(const struct fe_socket *from, const char *fabrics[FE_FABRICS_MAX],
                    struct tp_opts *opts);

/* Map what a server or the transport said to what cuInit returns; for tests. */
CUresult fe_connect_result(enum gp_status status);
CUresult fe_connect_refusal(uint32_t code);

/* Keep a range of addresses without access; false if any of it is in use. bytes 0 is fine. */
bool fe_reserve(const struct wire_range *range);

#endif
