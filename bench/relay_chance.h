/* bench/relay_chance.h -- what happens to a relayed connection, by a seeded chance
 *
 * One mishap for each connection, in one direction, after a number of bytes of any magnitude up to
 * the span: a reset, an end, silence, or a delay and then one of those. Threads: one.
 */
#ifndef BENCH_RELAY_CHANCE_H
#define BENCH_RELAY_CHANCE_H

#include "bench/relay_way.h"

struct chance {
    bool on;
    uint64_t state;
    uint64_t span, spare;
};

/* Nothing where it is not on. */
void chance_draw(struct chance *chance, struct line_plan *up, struct line_plan *down);
/* One line on standard output if what was planned for this way came about. */
void chance_tell(const struct way *way, const char *name);

#endif
