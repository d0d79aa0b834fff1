/* backend/metrics/board.h -- what workers tell the supervisor about GPUs and sessions, in shared
 * memory
 *
 * The supervisor never touches CUDA: what a GPU is, the first worker that has loaded the driver
 * writes down. Each worker has the row of its slot (the ledger's numbers) for the session it
 * serves and its counters. Nothing waits for anybody: a part is written before its state says so,
 * and counters are words that one process adds to.
 *
 * A worker may write anything anywhere in here, so a reader believes nothing: texts are ended and
 * cleaned, counts bounded. Wrong numbers mislead an operator about a session; nothing is admitted
 * or charged by them.
 *
 * Threads: the supervisor's, and any of a worker's for its counters.
 */
#ifndef BE_BOARD_H
#define BE_BOARD_H

#include "protocol/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_BOARD_ROWS 1024 /* as many as the ledger has slots */
#define BE_BOARD_GPUS 64
#define BE_BOARD_TEXT 128

/* Up to 500 us, 1, 2, 5, 10, 50, 200 ms, 1 s, and longer. */
#define BE_TURN_BUCKETS 9

/* What a call is about. */
enum be_count {
    BE_COUNT_LAUNCHES,
    BE_COUNT_COPIES,
    BE_COUNT_MEMORY,
    BE_COUNT_MODULES,
    BE_COUNT_STREAMS,
    BE_COUNT_GRAPHS,
    BE_COUNT_OTHERS,
    BE_COUNT_CLASSES,
    BE_COUNT_ERRORS = BE_COUNT_CLASSES, /* answers that are not success */
    BE_COUNT_WAITS,                     /* calls that the client waits for */
    BE_COUNT_BYTES_IN,
    BE_COUNT_BYTES_OUT,
    BE_COUNT_PUT_IN, /* bytes that came from and went to sessions on other servers */
    BE_COUNT_PUT_OUT,
    BE_COUNT_PUT_IN_RDMA, /* of these, by RDMA */
    BE_COUNT_PUT_OUT_RDMA,
    BE_COUNT_TURN_WAIT_NS, /* waited for the session's turn on a device */
    BE_COUNT_TURN_WAITS,   /* so often */
    BE_COUNT_PAGED_IN,     /* bytes that paging moved, and how long that took */
    BE_COUNT_PAGED_OUT,
    BE_COUNT_PAGING_NS,
    BE_COUNT_ROOM_WAIT_NS, /* waited until its memory was on its devices */
    BE_COUNT_HELD_NS,      /* others waited for its memory, while its work did not end */
    BE_COUNT_DIRECT_BYTES, /* between line and device memory by the line's device alone */
    BE_COUNT_TURNS,        /* that others had when asked for, by how long it took: a few of them */
    BE_COUNT_TURNS_NS = BE_COUNT_TURNS + BE_TURN_BUCKETS, /* all of that */
    BE_COUNT_END,
};

/* What carries a session's frames; it may go over from one to another. */
enum be_way {
    BE_WAY_TCP,
    BE_WAY_TLS,
    BE_WAY_SHM,
    BE_WAY_RDMA,
    BE_WAY_END,
};

struct be_board_bytes {
    uint64_t in, out;
};

struct be_board_gpu {
    char name[BE_BOARD_TEXT];
    uint8_t uuid[16];
    char pci[32];
    uint64_t total_bytes;
    uint32_t major, minor, processors;
};

struct be_board_driver {
    char text[BE_BOARD_TEXT];
    int32_t version;
    uint32_t software;
    uint32_t gpu_count;
    struct be_board_gpu gpus[BE_BOARD_GPUS];
};

struct be_board_session {
    uint64_t id;
    uint64_t opened_ms; /* since 1970 */
    uint32_t client_pid, monitor;
    char program[BE_BOARD_TEXT], build[BE_BOARD_TEXT], common_name[BE_BOARD_TEXT];
    char address[BE_BOARD_TEXT];
};

/* A worker's row. */
struct be_board_row {
    atomic_uint state; /* 0: no session; 1: one is being written; 2: session is there */
    struct be_board_session session;
    atomic_uint_least64_t active_ns; /* gp_now_ns() of the last frame */
    atomic_uint way;                 /* enum be_way, of the last frame */
    atomic_uint_least64_t counts[BE_COUNT_END];
    atomic_uint_least64_t bytes_in[BE_WAY_END], bytes_out[BE_WAY_END];
};

struct be_board;

GP_CHECK enum gp_status be_board_create(struct be_board **board_p);
/* In a worker. */
GP_CHECK enum gp_status be_board_attach(int fd, struct be_board **board_p);
void be_board_close(struct be_board *board);
int be_board_fd(const struct be_board *board);

/* -- a worker ---------------------------------------------------------------------------------- */

/* Kept if nobody has told it before. */
void be_board_set_driver(struct be_board *board, const struct be_board_driver *driver);
/* NULL without a board or beyond its rows. */
struct be_board_row *be_board_row(struct be_board *board, unsigned slot);
void be_board_row_set(struct be_board_row *row, const struct be_board_session *session);

/* A frame came by the transport of this scheme; so many bytes of frames in all. One thread. */
void be_board_row_frame(struct be_board_row *row, const char *scheme, uint64_t bytes_in,
                        uint64_t bytes_out, uint64_t now_ns);

/* By how much a counter of one's own row has grown; row may be NULL. */
static inline void
be_count(struct be_board_row *row, enum be_count which, uint64_t by)
{
    if (row != NULL)
        atomic_fetch_add_explicit(&row->counts[which], by, memory_order_relaxed);
}

/* A turn that others had was waited for so long. */
void be_count_turn(struct be_board_row *row, uint64_t ns);

/* -- the supervisor ---------------------------------------------------------------------------- */

/* False while nobody has told it. */
bool be_board_driver(struct be_board *board, struct be_board_driver *driver_p);
struct be_board_view {
    struct be_board_session session;
    uint64_t active_ns;
    enum be_way way;
    uint64_t counts[BE_COUNT_END];
    struct be_board_bytes bytes[BE_WAY_END];
};
/* False where the row has no session. */
bool be_board_view(struct be_board *board, unsigned slot, struct be_board_view *view_p);
/* "tls". */
const char *be_way_text(enum be_way way);
/* The slot's process is gone. */
void be_board_row_clear(struct be_board *board, unsigned slot);

#endif
