/* bench/relay_chance.c */
#include "bench/relay_chance.h"

#include "protocol/base/clock.h"

#include <stdio.h>

#define HOLD_MOST_MS 40

/* splitmix64 */
static uint64_t
next(struct chance *c)
{
    uint64_t z = c->state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* Half of them anywhere, half as often below 100 as below 10,000 and a million: small numbers hit
 * headers and handshakes. */
static uint64_t
some_bytes(struct chance *c)
{
    unsigned bits = 1;

    if (next(c) % 2)
        return next(c) % (c->span + 1);
    while (bits < 40 && 1ull << bits < c->span)
        bits++;
    return next(c) % (1 + (next(c) & ((1ull << (1 + next(c) % bits)) - 1)));
}

void
chance_draw(struct chance *c, struct line_plan *up, struct line_plan *down)
{
    struct line_plan *plan;
    uint64_t after;
    unsigned kind;

    if (!c->on)
        return;
    plan = next(c) % 2 ? up : down;
    after = c->spare + some_bytes(c);
    kind = next(c) % 20;
    c->spare = 0; /* only the first one */
    if (kind < 4) {
        plan->hold_after = after;
        plan->hold_ns = (1 + next(c) % HOLD_MOST_MS) * GP_NS_PER_MS;
        after += 1 + some_bytes(c);
        kind = 4 + next(c) % 16;
    }
    if (kind < 10)
        plan->cut_after = after;
    else if (kind < 15)
        plan->end_after = after;
    else
        plan->stall_after = after;
}

static void
tell(const char *what, const char *name, uint64_t planned, uint64_t reached)
{
    if (reached < planned)
        return;
    printf("%s %s %llu\n", what, name, (unsigned long long)planned);
    fflush(stdout);
}

void
chance_tell(const struct way *way, const char *name)
{
    tell("reset", name, way->plan->cut_after, way->out);
    tell("end", name, way->plan->end_after, way->out);
    tell("stall", name, way->plan->stall_after, way->in);
    tell("hold", name, way->plan->hold_after, way->in);
}
