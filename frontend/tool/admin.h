/* frontend/tool/admin.h -- the operator's line to servers
 *
 * To a server of this machine by its unix socket, to others by TLS with an operator's certificate.
 * Threads: one.
 */
#ifndef FE_TOOL_ADMIN_H
#define FE_TOOL_ADMIN_H

#include "frontend/tool/tool.h"
#include "protocol/wire/admin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOOL_SOCKET_DEFAULT "/run/gpupool/admin.sock"
#define TOOL_TARGETS_MAX    256

/* What the commands of operators have in common, after TOOL_CLIENT_OPTIONS. */
#define TOOL_ADMIN_OPTIONS                                                                         \
    {                                                                                              \
        "socket", "PATH", GP_OPT_PATH, NULL,                                                       \
            "ask the server of this machine at PATH, not those of --server; "                      \
            "/run/gpupool/admin.sock is asked if it is there and no --server is given"             \
    }

struct tp_lane;

struct tool_target {
    char *name; /* a URL or a path */
    bool local;
    struct tp_lane *lane; /* kept between requests; NULL: not connected */
    int fd;               /* local; -1 */
    struct wire_admin_answer answer;
    bool answered;
    char why[512]; /* it was not */
};

struct tool_targets {
    struct tool_target *list;
    size_t count;
};

/* Who is meant: --socket, --server, the socket's default place, the configuration. False after a
 * message. */
bool tool_targets_find(const struct gp_options *o, struct tool_targets *targets_p);
/* The servers of the configuration only. */
bool tool_targets_configured(struct tool_targets *targets_p);
void tool_targets_fini(struct tool_targets *targets);

/* Ask all of them; connections are kept. The count of those that answered, with any code. */
size_t tool_ask(struct tool_targets *targets, const struct wire_admin_request *request);
/* Say on standard error who did not answer or refused; how many. */
size_t tool_complain(const struct tool_targets *targets, const char *command);

/* Sums over kinds of calls, and over devices. */
uint64_t tool_calls_sum(const struct wire_admin_counters *counters);
uint64_t tool_used_sum(const struct wire_admin_use *uses, uint32_t count);
uint64_t tool_promised_sum(const struct wire_admin_use *uses, uint32_t count);

#endif
