/* bench/relay_way.h -- one direction of a relayed connection: a ring of bytes with due times
 *
 * Bytes read at one moment leave together, after the line's delay and, with a rate, not before the
 * line is free. A way never sleeps; the loop asks when it is due next.
 * Threads: one.
 */
#ifndef BENCH_RELAY_WAY_H
#define BENCH_RELAY_WAY_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAY_MARKS 65536u

/* What the line does to one direction. */
struct line_plan {
    uint64_t delay_ns;    /* one way */
    double ns_per_byte;   /* 0: no limit */
    uint64_t cut_after;   /* bytes; then both ends are reset; UINT64_MAX: never */
    uint64_t end_after;   /* bytes; then both ends are closed; UINT64_MAX: never */
    uint64_t hold_after;  /* bytes; what comes then is late, once; UINT64_MAX: never */
    uint64_t hold_ns;     /* by so much */
    uint64_t stall_after; /* bytes; then silence; UINT64_MAX: never */
    size_t buffer_bytes;  /* on the way at once; then the sender waits, as TCP makes it */
};

/* Bytes up to `end` may leave at `due_ns`. */
struct way_mark {
    uint64_t due_ns, end;
};

struct way {
    const struct line_plan *plan;   /* borrowed */
    int from, to;                   /* borrowed, non-blocking */
    uint8_t *ring;                  /* plan->buffer_bytes */
    struct way_mark *marks;         /* WAY_MARKS, a ring as well */
    uint64_t first_mark, next_mark; /* counters; equal: nothing on the way */
    uint64_t in, out;               /* bytes taken and given since the beginning */
    uint64_t base;                  /* byte count that lies at ring[0] */
    uint64_t line_free_ns;          /* when the rate lets the next byte in */
    bool ended, end_given;          /* the sender's end was read, was passed on */
    bool full;                      /* the receiver takes no more just now */
};

GP_CHECK enum gp_status way_init(struct way *w, const struct line_plan *plan, int from, int to);
void way_fini(struct way *w);

/* True if the way has room for more of what its sender sends. */
bool way_wants_input(const struct way *w);
/* Read what is there. Errors: GP_ERR_IO: the sender's socket failed. */
GP_CHECK enum gp_status way_take(struct way *w);
/* Send what is due. Errors: GP_ERR_IO: the receiver's socket failed; GP_ERR_CLOSED: cut here. */
GP_CHECK enum gp_status way_give(struct way *w, uint64_t now_ns);
/* When way_give() has something to do; GP_FOREVER: only after a socket's event. */
uint64_t way_due_ns(const struct way *w);

#endif
