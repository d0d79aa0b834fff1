/* transport/loop/loop.h -- two lanes joined inside one process, with injected faults
 *
 * For tests: what the network may do to a lane, done on purpose. The whole of transport.h works on
 * the two ends, from any threads.
 */
#ifndef TP_LOOP_H
#define TP_LOOP_H

#include "transport/transport.h"

/* What happens to the bytes of one direction; zero: nothing. */
struct tp_loop_faults {
    uint64_t delay_ns;  /* each byte arrives so much later */
    size_t read_max;    /* a read gives at most so many bytes */
    size_t write_max;   /* a write takes at most so many bytes */
    uint64_t cut_after; /* the line breaks after so many bytes, if cut is set */
    bool cut;
    size_t window_bytes; /* written and not yet read; 0: 256 KiB */
};

/*
 * Make a pair; faults[0] is for what a sends, faults[1] for what b sends; NULL: none.
 *
 * Ownership: both lanes are the caller's, each for its own tp_close(), in any order.
 * Errors:    GP_ERR_NO_MEMORY, GP_ERR_LIMIT, GP_ERR_INVALID (opts).
 */
GP_CHECK enum gp_status tp_loop_pair(const struct tp_opts *opts,
                                     const struct tp_loop_faults faults[2], struct tp_lane **a_p,
                                     struct tp_lane **b_p);

#endif
