/* backend/driver/soft/exec/block.c -- one thread block: its warps in turn, its barriers
 *
 * A block stays with the thread that started it. Its warps run one after the other, each until
 * it ends, waits at a barrier, or has used up its budget.
 */
#include "backend/driver/soft/exec/warp.h"

#include <string.h>

/* Turns after which a block that does not end lets others in (some milliseconds), and after
 * which one that only spins does. */
#define SLICES_LONG 64u
#define SLICES_SPIN 1u

/* A warp that used up its budget with so many accesses that programs wait with is spinning. */
#define SPUN_MIN 3u

/* What running a warp uses up of a budget at least, however soon it stops at a barrier. */
#define RUN_LEAST 64

/* ---- barriers ---- */

void
sd_barrier_release(struct sd_block *block, unsigned id)
{
    struct sd_barrier *bar = &block->bars[id];
    uint32_t i;
    unsigned k;

    for (i = 0; bar->waiting > 0 && i < block->nwarps; i++) {
        struct sd_warp *w = &block->warps[i];

        w->came[id] = 0;
        for (k = 0; k < w->nwait; k++)
            if (w->wait[k].state == SD_AT_BARRIER && w->wait[k].sync == id) {
                w->wait[k].state = SD_RUN;
                /* Others may have been here again before it looks. */
                w->reduced[id] = (struct sd_reduced){bar->popc, bar->nred};
            }
    }
    bar->arrived = bar->expected = bar->waiting = bar->popc = bar->nred = 0;
    block->active_barriers &= ~(1u << id);
}

static bool
barrier_complete(const struct sd_block *block, const struct sd_barrier *bar)
{
    return bar->arrived >= (bar->expected != 0 ? bar->expected : block->nlive);
}

/* With a count, a warp whose living lanes have all come counts 32 even when it has fewer. */
static void
count_whole(struct sd_warp *w, unsigned id)
{
    if ((w->live & ~w->came[id]) != 0)
        return;
    w->block->bars[id].arrived += 32 - (uint32_t)__builtin_popcount(w->came[id]);
    w->came[id] = 0;
}

bool
sd_barrier_arrive(struct sd_warp *w, unsigned id, uint32_t count, uint32_t lanes)
{
    struct sd_block *block = w->block;
    struct sd_barrier *bar = &block->bars[id];

    bar->arrived += (uint32_t)__builtin_popcount(lanes);
    if (count != 0) {
        bar->expected = count;
        w->came[id] = (w->came[id] & lanes) == 0 ? w->came[id] | lanes : lanes;
        count_whole(w, id);
    }
    block->active_barriers |= 1u << id;
    return barrier_complete(block, bar);
}

/* Lanes have exited: barriers that waited only for them are complete. */
static void
check_barriers(struct sd_block *block)
{
    uint32_t m = block->active_barriers;

    for (; m != 0; m &= m - 1) {
        unsigned id = sd_first_lane(m);

        if (block->bars[id].waiting > 0 && barrier_complete(block, &block->bars[id]))
            sd_barrier_release(block, id);
    }
}

void
sd_barrier_exit(struct sd_warp *w)
{
    struct sd_block *block = w->block;
    uint32_t m;

    for (m = block->active_barriers; m != 0; m &= m - 1) {
        unsigned id = sd_first_lane(m);

        if (w->came[id] == 0)
            continue;
        count_whole(w, id);
        if (block->bars[id].waiting > 0 && barrier_complete(block, &block->bars[id]))
            sd_barrier_release(block, id);
    }
}

/* ---- start and end ---- */

static bool
make_room(struct sd_block *b, const struct sd_grid *grid)
{
    if (b->warps_cap < grid->nwarps) {
        struct sd_warp *warps = realloc(b->warps, grid->nwarps * sizeof(*warps));

        if (warps == NULL)
            return false;
        memset(warps + b->warps_cap, 0, (grid->nwarps - b->warps_cap) * sizeof(*warps));
        b->warps = warps;
        b->warps_cap = grid->nwarps;
    }
    if (b->shared_cap < grid->shared_bytes) {
        size_t cap = ((size_t)grid->shared_bytes + 4095) & ~(size_t)4095;
        uint8_t *shared = aligned_alloc(64, cap);

        if (shared == NULL)
            return false;
        memset(shared, 0, cap);
        free(b->shared);
        b->shared = shared;
        b->shared_cap = cap;
    }
    return true;
}

static void
init_warp(struct sd_block *b, struct sd_warp *w, uint32_t index, const struct sd_grid *grid)
{
    uint32_t left = grid->nthreads - index * 32;

    w->initial = left >= 32 ? SD_LANES_ALL : (1u << left) - 1;
    w->live = w->initial;
    w->cluster_arrived = 0;
    w->mask = 0;
    w->frame = NULL;
    w->nwait = 0;
    w->done = 0;
    w->sticky = 0;
    w->spun = 0;
    w->yields = 0;
    w->turn = 0;
    memset(w->came, 0, sizeof(w->came));
    w->index = index;
    w->block = b;
    w->shared = b->shared;
    w->shared_bytes = grid->shared_bytes;
    w->local_stride = 0;
}

static void
free_block(struct sd_block *b)
{
    size_t i;

    for (i = 0; i < b->warps_cap; i++)
        free(b->warps[i].local);
    free(b->warps);
    free(b->shared);
    free(b);
}

struct sd_block *
sd_block_start(struct sd_cpu *cpu, struct sd_grid *grid, const uint32_t id[3])
{
    const uint32_t *dim = grid->launch->grid;
    struct sd_block *b = cpu->free_blocks;
    uint32_t i;

    if (b != NULL)
        cpu->free_blocks = b->next;
    else
        b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    if (!make_room(b, grid)) {
        free_block(b);
        return NULL;
    }
    b->grid = grid;
    b->nwarps = grid->nwarps;
    b->nlive = grid->nthreads;
    b->running = grid->nwarps;
    memcpy(b->id, id, sizeof(b->id));
    b->linear = id[0] + dim[0] * (id[1] + (uint64_t)dim[1] * id[2]);
    b->rank = 0;
    b->cluster = &b->self;
    b->spent = 0;
    b->slices = 0;
    b->next = NULL;
    if (b->active_barriers != 0) {
        memset(b->bars, 0, sizeof(b->bars));
        b->active_barriers = 0;
    }
    for (i = 0; i < b->nwarps; i++)
        init_warp(b, &b->warps[i], i, grid);
    return b;
}

/* Frames of a warp that did not end by itself. */
static void
drop_frames(struct sd_cpu *cpu, struct sd_warp *w)
{
    struct sd_frame *chain[33];
    unsigned n = 0, i, k;

    if (w->mask != 0)
        chain[n++] = w->frame;
    for (i = 0; i < w->nwait; i++)
        chain[n++] = w->wait[i].frame;
    for (i = 0; i < n; i++) {
        struct sd_frame *f = chain[i];

        while (f != NULL && f->lanes != 0) {
            struct sd_frame *parent = f->parent;

            f->lanes = 0; /* seen */
            sd_frame_put(cpu, f);
            f = parent;
        }
        for (k = i + 1; k < n; k++)
            if (chain[k] == chain[i])
                chain[k] = NULL;
    }
    w->mask = 0;
    w->nwait = 0;
    w->frame = NULL;
}

void
sd_block_end(struct sd_cpu *cpu, struct sd_block *b)
{
    uint32_t i;

    for (i = 0; i < b->nwarps; i++)
        if (b->warps[i].frame != NULL)
            drop_frames(cpu, &b->warps[i]);
    b->next = cpu->free_blocks;
    cpu->free_blocks = b;
}

void
sd_cpu_drop(struct sd_cpu *cpu)
{
    unsigned i;

    for (i = 0; i < GP_ARRAY_LEN(cpu->free_frames); i++) {
        while (cpu->free_frames[i] != NULL) {
            struct sd_frame *f = cpu->free_frames[i];

            cpu->free_frames[i] = f->next_free;
            free(f->regs);
            free(f);
        }
    }
    while (cpu->free_blocks != NULL) {
        struct sd_block *b = cpu->free_blocks;

        cpu->free_blocks = b->next;
        free_block(b);
    }
}

/* ---- running ---- */

static bool
start_warp(struct sd_cpu *cpu, struct sd_warp *w)
{
    const struct sd_fn *fn = w->block->grid->code->fns[0];

    w->frame = sd_frame_get(cpu, fn);
    if (w->frame == NULL)
        return false;
    w->frame->lanes = w->live;
    w->ip = fn->insns;
    w->cpu = cpu;
    w->mask = w->live;
    if (fn->local_bytes > 0 && !sd_local_reserve(w, fn->local_bytes)) {
        sd_frame_put(cpu, w->frame);
        w->frame = NULL;
        return false;
    }
    sd_frame_start_warp(w, w->frame);
    return true;
}

/* Ready to run? Chooses a group where a barrier has let some go. */
static bool
wake(struct sd_warp *w)
{
    if (w->mask != 0)
        return true;
    w->event = SD_EV_NONE;
    sd_group_pick(w);
    return w->event == SD_EV_NONE;
}

static void
out_of_memory(struct sd_block *b)
{
    struct sd_grid *grid = b->grid;

    pthread_mutex_lock(&grid->fault_lock);
    if (grid->fault.code == CUDA_SUCCESS) {
        grid->fault.code = CUDA_ERROR_OUT_OF_MEMORY;
        memcpy(grid->fault.block, b->id, sizeof(b->id));
        strcpy(grid->fault.what, "no host memory for a block");
    }
    pthread_mutex_unlock(&grid->fault_lock);
    atomic_store_explicit(&grid->stop, 1, memory_order_relaxed);
}

bool
sd_cpu_poll(struct sd_cpu *cpu)
{
    struct sd_grid *grid = cpu->grid;
    uint64_t epoch = atomic_load_explicit(grid->env->span_epoch, memory_order_acquire);

    if (epoch != cpu->span_epoch) {
        memset(cpu->spans, 0, sizeof(cpu->spans));
        cpu->span_epoch = epoch;
    }
    if (grid->env->cancelled != NULL && grid->env->cancelled(grid->env->opaque))
        atomic_store_explicit(&grid->stop, 1, memory_order_relaxed);
    return atomic_load_explicit(&grid->stop, memory_order_relaxed) != 0;
}

/* One warp until it stops; false: the block must be given up. */
static bool
run_warp(struct sd_cpu *cpu, struct sd_block *b, struct sd_warp *w, unsigned *yields_p)
{
    if (w->frame == NULL && !start_warp(cpu, w)) {
        out_of_memory(b);
        return false;
    }
    w->cpu = cpu;
    w->budget = SD_BUDGET;
    b->grid->core->run(w);
    b->spent += SD_BUDGET - w->budget + RUN_LEAST;
    switch (w->event) {
    case SD_EV_DONE:
        w->done = 1;
        w->frame->lanes = 0;
        while (w->frame->parent != NULL)
            w->frame = w->frame->parent;
        sd_frame_put(cpu, w->frame);
        w->frame = NULL;
        b->running--;
        check_barriers(b);
        return true;
    case SD_EV_YIELD:
        ++*yields_p;
        if (w->spun >= SPUN_MIN)
            b->stuck = true;
        if (w->mask == 0) /* the handler left the choice open */
            sd_group_pick(w);
        else if (w->nwait > 0 && (w->spun >= SPUN_MIN || ++w->yields % 8 == 0))
            sd_group_rotate(w);
        w->spun = 0;
        return true;
    case SD_EV_FAULT:
        return false;
    default:
        check_barriers(b);
        return true;
    }
}

void
sd_block_deadlock(struct sd_block *b)
{
    const struct sd_group *g;
    struct sd_warp *w;
    unsigned lane;
    uint32_t i;

    for (i = 0; i < b->nwarps && (b->warps[i].done || b->warps[i].nwait == 0); i++)
        ;
    if (i == b->nwarps)
        return;
    w = &b->warps[i];
    g = &w->wait[0];
    lane = sd_first_lane(g->mask);
    w->frame = g->frame;
    /* All but what is executed again go on behind what they wait at. */
    switch (g->state) {
    case SD_AT_CLUSTER:
        sd_fault(w, g->ip - 1, lane, CUDA_ERROR_LAUNCH_FAILED, 0,
                 "deadlock: threads wait at the cluster's barrier that the others never reach");
        return;
    case SD_AT_BARRIER:
        sd_fault(w, g->ip - 1, lane, CUDA_ERROR_LAUNCH_FAILED, 0,
                 "deadlock: threads wait at barrier %u that the others never reach", g->sync);
        return;
    default:
        sd_fault(w, g->ip - (g->state == SD_AT_WARP), lane, CUDA_ERROR_LAUNCH_FAILED, 0,
                 "deadlock: lanes 0x%08x wait for 0x%08x of their warp, which never come to an "
                 "instruction of the same kind with the same members",
                 g->mask, g->sync & w->live & ~g->mask);
        return;
    }
}

/* Do threads wait for other blocks? */
static bool
waits_for_cluster(const struct sd_block *b)
{
    uint32_t i;
    unsigned k;

    if (b->cluster->n == 1)
        return false;
    for (i = 0; i < b->nwarps; i++)
        for (k = 0; k < b->warps[i].nwait; k++)
            if (b->warps[i].wait[k].state == SD_AT_CLUSTER)
                return true;
    return false;
}

/* Whether a turn is over: a warp used up its budget, or, where all stop at barriers before that,
 * together they used up as much. */
static bool
turn_over(struct sd_block *b, unsigned yields)
{
    if (yields == 0 && b->spent < (int64_t)SD_BUDGET * b->nwarps)
        return false;
    for (uint32_t i = 0; yields == 0 && i < b->nwarps; i++) {
        b->stuck |= b->warps[i].spun >= SPUN_MIN;
        b->warps[i].spun = 0;
    }
    b->spent = 0;
    return true;
}

enum sd_block_state
sd_block_run(struct sd_cpu *cpu, struct sd_block *b)
{
    uint32_t i;

    for (;;) {
        unsigned ran = 0, yields = 0;

        b->stuck = false;
        for (i = 0; i < b->nwarps; i++) {
            struct sd_warp *w = &b->warps[i];

            if (w->done || (w->frame != NULL && !wake(w)))
                continue;
            ran++;
            if (!run_warp(cpu, b, w, &yields))
                return SD_BLOCK_ENDED;
        }
        if (b->running == 0)
            return SD_BLOCK_ENDED;
        if (ran == 0 && waits_for_cluster(b))
            return SD_BLOCK_WAITS;
        if (ran == 0) {
            sd_block_deadlock(b);
            return SD_BLOCK_ENDED;
        }
        if (turn_over(b, yields)) {
            if (sd_cpu_poll(cpu))
                return SD_BLOCK_ENDED;
            b->slices++;
            if (b->slices >= (b->stuck ? SLICES_SPIN : SLICES_LONG)) {
                b->slices = 0;
                return SD_BLOCK_GIVES_WAY;
            }
        }
    }
}
