/* backend/session/session.h -- one client's session, from its first frame to its last
 *
 * Threads: one, the executor, is in these functions; waiters and a reaper are behind them.
 */
#ifndef BE_SESSION_H
#define BE_SESSION_H

#include "backend/cuda/state.h"
#include "backend/memory/swap.h"
#include "backend/session/line.h"
#include "backend/tenant/ledger.h"
#include "protocol/wire/control.h"

struct be_session_config {
    const struct be_driver *driver;
    struct be_limits limits;
    struct be_ledger *ledger;  /* borrowed; NULL: no limits */
    struct be_board_row *row;  /* what the operator sees of it; borrowed; NULL: nothing */
    uint64_t hidden;           /* devices that this client may not use, a bit each */
    bool scrub;                /* with tenants: fresh memory is filled with zeros */
    unsigned evict_every;      /* tests: backend/cuda/stay.h */
    struct be_swap_opts swap;  /* where memory is paged */
    uint64_t lease_bytes;      /* most that a session may allocate of a device without asking */
    uint64_t device_base_hint; /* 0: anywhere */
    uint64_t range_bytes;      /* of device addresses; 0: by the devices' memory */
    int print_fd;
    int images_fd; /* a line to who keeps images; -1: nobody does */
    bool contents, contents_shared; /* it keeps copies too, of all tenants together */
};

/* line is borrowed. Errors are logged. */
GP_CHECK enum gp_status be_session_create(const struct be_session_config *config,
                                          struct be_line *line, struct be_session **session_p);
/* Ends everything the session owns; waits for the device. */
void be_session_destroy(struct be_session *session);

/*
 * Check a row of call records whole, then execute it. *why_p says in words what was wrong.
 * Errors: GP_ERR_PROTOCOL: nothing of a malformed row was executed.
 */
GP_CHECK enum gp_status be_session_feed(struct be_session *session, const uint8_t *row,
                                        size_t bytes, const char **why_p);

/* Receive and execute until the client says BYE, the line ends, or the client breaks the protocol.
 * The code is what ended it. */
enum wire_control_code be_session_run(struct be_session *session);

/* -- opening ------------------------------------------------------------------------------------
 */

struct be_open_config {
    struct be_session_config session;
    const char *server_name;
    const char *const *model_rules; /* for protocol/directory/model.h; NULL: none */
    uint64_t deadline_ns;           /* for hello and open */
    uint32_t max_payload_bytes;
    uint64_t features;               /* offered */
    uint32_t grace_ms, heartbeat_ms; /* told */
    uint32_t lines_max;              /* told; connections that a session may go by at once */
    uint32_t wire_format;            /* WIRE_FORMAT; another one makes tests of old peers */
    enum wire_control_code refuse;   /* not 0: answer the open with it */
    unsigned lane_count;             /* further ways to the session; borrowed */
    const char *lanes[WIRE_LANES_MAX];
    /* May be NULL. Called before a client that can come back hears the session's id. */
    void (*named)(void *user, uint64_t session_id);
    /* May be NULL. An operator is there instead of a client: his first request, which is the
     * lane's until its next receive. */
    void (*operator)(void *user, struct tp_lane *lane, struct be_line *line,
                     const struct tp_frame *request);
    void *user;
};

/* What the operator sees of the line; row may be NULL. */
void be_frame_count(struct be_board_row *row, const struct tp_lane *lane, uint64_t now_ns);

/* What client and server agreed on. */
struct be_opened {
    uint64_t features;                 /* WIRE_FEATURE_* */
    char program[WIRE_TEXT_MAX + 1];   /* what the client calls itself */
    uint64_t session_id;               /* not 0 */
    uint8_t secret[WIRE_SECRET_BYTES]; /* told to the client; to be wiped */
    struct be_board_session seen;      /* for the operator */
};

/* Hello and open on a fresh lane; *session_p is ready to run. Refusals are answered and logged. */
GP_CHECK enum gp_status be_session_open(const struct be_open_config *config, struct tp_lane *lane,
                                        struct be_line *line, struct be_opened *opened_p,
                                        struct be_session **session_p);

/* The table of devices as the answer has it; *devices_p is the caller's. */
GP_CHECK enum gp_status be_devices_describe(const struct be_driver *driver,
                                            struct wire_device **devices_p);

#endif
