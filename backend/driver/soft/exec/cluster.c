/* backend/driver/soft/exec/cluster.c -- blocks that run together: start, turns, their barrier,
 * addresses
 *
 * One thread runs all blocks of a cluster, in turn, so their shared memory and barriers have one
 * writer at a time. A block that is launched without a cluster is one of its own.
 */
#include "backend/driver/soft/exec/cluster.h"
#include "backend/driver/soft/exec/warp.h"

#include <string.h>

/* ---- start and end ---- */

struct sd_cluster *
sd_cluster_start(struct sd_cpu *cpu, struct sd_grid *grid, uint64_t number)
{
    const uint32_t *dim = grid->launch->cluster;
    const uint32_t n[2] = {grid->launch->grid[0] / dim[0], grid->launch->grid[1] / dim[1]};
    const uint32_t first[3] = {(uint32_t)(number % n[0]) * dim[0],
                               (uint32_t)(number / n[0] % n[1]) * dim[1],
                               (uint32_t)(number / n[0] / n[1]) * dim[2]};
    struct sd_cluster *c = NULL;
    uint32_t r;

    for (r = 0; r < grid->cluster_size; r++) {
        const uint32_t id[3] = {first[0] + r % dim[0], first[1] + r / dim[0] % dim[1],
                                first[2] + r / dim[0] / dim[1]};
        struct sd_block *b = sd_block_start(cpu, grid, id);

        if (b == NULL) {
            if (c != NULL)
                sd_cluster_end(cpu, c);
            return NULL;
        }
        if (c == NULL) {
            c = &b->self;
            c->n = c->ended = c->nlive = c->arrived = c->releases = 0;
        }
        b->rank = r;
        b->cluster = c;
        c->blocks[c->n++] = b;
        c->nlive += grid->nthreads;
    }
    return c;
}

void
sd_cluster_end(struct sd_cpu *cpu, struct sd_cluster *c)
{
    uint32_t r;

    /* It lies in its first block. */
    for (r = c->n; r-- > 0;)
        sd_block_end(cpu, c->blocks[r]);
}

/* ---- running ---- */

/* All that have not ended wait for each other. */
static void
deadlock(struct sd_cluster *c)
{
    uint32_t r;

    for (r = 0; (c->ended >> r & 1) != 0; r++)
        ;
    sd_block_deadlock(c->blocks[r]);
}

bool
sd_cluster_run(struct sd_cpu *cpu, struct sd_cluster *c)
{
    const uint32_t all = (1u << c->n) - 1;

    while (c->ended != all) {
        const uint32_t ended = c->ended, releases = c->releases;
        bool gave_way = false;
        uint32_t r;

        for (r = 0; r < c->n; r++) {
            if ((c->ended >> r & 1) != 0)
                continue;
            switch (sd_block_run(cpu, c->blocks[r])) {
            case SD_BLOCK_ENDED:
                if (atomic_load_explicit(&cpu->grid->stop, memory_order_relaxed) != 0)
                    return true;
                c->ended |= 1u << r;
                break;
            case SD_BLOCK_GIVES_WAY:
                gave_way = true;
                break;
            case SD_BLOCK_WAITS:
                break;
            }
        }
        if (gave_way)
            return false;
        if (c->ended == ended && c->releases == releases) {
            deadlock(c);
            return true;
        }
    }
    return true;
}

/* ---- the barrier ---- */

/* All threads have arrived or ended: a new phase. */
static void
release(struct sd_cluster *c)
{
    uint32_t r, i;
    unsigned k;

    c->arrived = 0;
    c->releases++;
    for (r = 0; r < c->n; r++) {
        struct sd_block *b = c->blocks[r];

        for (i = 0; i < b->nwarps; i++) {
            struct sd_warp *w = &b->warps[i];

            w->cluster_arrived = 0;
            for (k = 0; k < w->nwait; k++)
                if (w->wait[k].state == SD_AT_CLUSTER)
                    w->wait[k].state = SD_RUN;
        }
    }
}

void
sd_cluster_exit(struct sd_warp *w, uint32_t lanes)
{
    struct sd_cluster *c = w->block->cluster;

    c->nlive -= (uint32_t)__builtin_popcount(lanes);
    if (GP_LIKELY(c->arrived == 0))
        return;
    c->arrived -= (uint32_t)__builtin_popcount(lanes & w->cluster_arrived);
    w->cluster_arrived &= ~lanes;
    if (c->arrived == 0 || c->arrived < c->nlive)
        return;
    release(c);
    if (w->mask != 0)
        sd_group_update(w);
}

const struct sd_insn *
sd_cluster_arrive(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    struct sd_cluster *c = w->block->cluster;
    uint32_t lanes = w->mask & ~w->cluster_arrived;

    (void)regs;
    w->cluster_arrived |= lanes;
    c->arrived += (uint32_t)__builtin_popcount(lanes);
    if (c->arrived < c->nlive)
        return ip + 1;
    release(c);
    if (w->nwait == 0)
        return ip + 1;
    sd_group_park(w, ip + 1, SD_RUN, 0);
    sd_group_pick(w);
    return NULL;
}

const struct sd_insn *
sd_cluster_wait(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    (void)regs;
    if ((w->mask & w->cluster_arrived) == 0)
        return ip + 1;
    sd_group_park(w, ip + 1, SD_AT_CLUSTER, 0);
    sd_group_pick(w);
    return NULL;
}

/* ---- addresses ---- */

/* The slot of the shared window that an address lies in; SD_WINDOW_SLOTS: in none. */
static uint64_t
slot_of(uint64_t addr, bool generic)
{
    uint64_t o = generic ? addr - SD_WINDOW_SHARED : addr;

    return o / SD_WINDOW_BYTES < SD_WINDOW_SLOTS ? o / SD_WINDOW_BYTES : SD_WINDOW_SLOTS;
}

/* The same place in the shared memory of the block of a rank. What is no shared address, or of no
 * rank, becomes one that nothing lies at. */
static uint64_t
map_address(const struct sd_cluster *c, uint64_t addr, uint32_t rank, bool generic)
{
    uint64_t slot =
        rank < c->n && slot_of(addr, generic) < SD_WINDOW_SLOTS ? rank + 1 : SD_WINDOW_SLOTS - 1;

    return (generic ? SD_WINDOW_SHARED : 0) + slot * SD_WINDOW_BYTES + addr % SD_WINDOW_BYTES;
}

/* a: address, b: rank; flags: enum sd_cluster_flags */
const struct sd_insn *
sd_cluster_address(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs)
{
    const struct sd_cluster *c = w->block->cluster;
    const bool generic = (ip->flags & SD_CLUSTER_GENERIC) != 0;
    const unsigned width = (ip->flags & SD_CLUSTER_WIDE) != 0 ? 8 : 4;
    uint32_t *pred = (uint32_t *)(void *)(regs + ip->dst);
    uint32_t m;

    for (m = w->mask; m != 0; m &= m - 1) {
        unsigned lane = sd_first_lane(m);
        uint64_t addr = sd_lane_get(regs + ip->a, lane, width);
        uint64_t slot = slot_of(addr, generic);
        bool own = slot == 0 || slot == w->block->rank + 1;

        switch (ip->flags & SD_CLUSTER_OP) {
        case SD_CLUSTER_MAPA:
            sd_lane_put(
                regs + ip->dst, lane, width,
                map_address(c, addr, (uint32_t)sd_lane_get(regs + ip->b, lane, 4), generic));
            break;
        case SD_CLUSTER_RANK:
            sd_lane_put(regs + ip->dst, lane, 4, own ? w->block->rank : slot - 1);
            break;
        default: /* is it the block's own? */
            *pred = (*pred & ~(1u << lane)) | (uint32_t)own << lane;
            break;
        }
    }
    return ip + 1;
}
