/* backend/driver/soft/exec/warp.h -- the state of running warps and blocks
 *
 * A warp's live lanes are split into groups: one current, the others in warp->wait. The group
 * with the deepest frame and in it the smallest instruction runs first, so that lanes meet again
 * (they are merged when frame and instruction agree). A block belongs to one thread at a time.
 */
#ifndef SD_WARP_H
#define SD_WARP_H

#include "backend/driver/soft/exec/insn.h"

#include "protocol/base/util.h"

#include <pthread.h>

#define SD_BARRIERS     16u
#define SD_SPAN_CACHE   64u
#define SD_LOCAL_MAX    (512u << 10) /* bytes of local memory per lane */
#define SD_DEPTH_MAX    4096u        /* frames on top of each other */

/* Instructions between two visits of the scheduler, roughly. */
#define SD_BUDGET       50000

struct sd_cpu;
struct sd_block;
struct sd_grid;

enum sd_event {
    SD_EV_NONE,
    SD_EV_YIELD,   /* the budget is used up */
    SD_EV_BARRIER, /* all groups wait: at barriers, or for lanes that do */
    SD_EV_DONE,    /* no lane is left */
    SD_EV_FAULT,   /* noted in the grid */
};

struct sd_frame {
    uint8_t *regs;
    const struct sd_fn *fn;
    struct sd_frame *parent;     /* NULL for the kernel's own */
    const struct sd_insn *ret;   /* where the caller goes on */
    const struct sd_call_site *site;
    uint32_t lanes;              /* that are inside of this frame or deeper */
    uint32_t depth;
    uint32_t local_base;         /* of its local variables */
    struct sd_frame *next_free;
    uint64_t launch;             /* for which the presets are filled */
    uint32_t class;              /* log2 of the bytes that regs has */
};

enum sd_group_state {
    SD_RUN,
    SD_AT_BARRIER, /* sync: the barrier's number */
    SD_AT_SYNC,    /* sync: the lanes that must come to such an instruction, with these members */
    SD_AT_WARP,    /* sync: the lanes that must come to any bar.warp.sync with these members */
    SD_AT_CLUSTER, /* the barrier of the cluster */
};

struct sd_group {
    const struct sd_insn *ip;
    struct sd_frame *frame;
    uint32_t mask;
    uint32_t state;
    uint32_t sync;
};

/* What a reduction at a barrier gave. */
struct sd_reduced {
    uint32_t popc, n;
};

struct sd_warp {
    uint32_t mask;               /* lanes of the current group; 0: none chosen */
    uint32_t live;               /* lanes that have not exited */
    uint32_t cluster_arrived;    /* lanes that have arrived at the cluster's barrier in this phase */
    struct sd_frame *frame;
    const struct sd_insn *ip;
    const struct sd_insn *wait_ip; /* a join at or behind it must look at the waiting groups */
    int64_t budget;
    uint8_t event;
    uint8_t sticky;              /* the current group keeps running until the next yield */
    uint8_t nwait;
    uint8_t done;
    uint32_t index;              /* in the block */
    struct sd_cpu *cpu;          /* of the thread that runs it now */
    struct sd_block *block;
    uint8_t *shared;
    uint32_t shared_bytes;
    uint32_t local_stride;       /* bytes of local memory per lane, all 32 lanes in local */
    uint8_t *local;
    uint32_t cc[32];             /* condition code of the carry instructions */
    uint32_t initial;            /* lanes that exist */
    uint32_t turn;               /* for fairness between groups */
    uint32_t yields;             /* since groups were rotated */
    uint8_t spun;                /* hints since the last yield: what programs wait with */
    uint32_t came[SD_BARRIERS];  /* lanes that a counted barrier has, some missing */
    struct sd_reduced reduced[SD_BARRIERS]; /* read by lanes that a barrier has let go */
    size_t local_cap;
    struct sd_group wait[32];
};

struct sd_barrier {
    uint32_t arrived;  /* threads */
    uint32_t expected; /* 0: all live threads */
    uint32_t waiting;  /* groups parked */
    uint32_t popc;
    uint32_t nred;     /* threads that took part in a reduction */
};

/* The blocks of a cluster; a block without one is a cluster of itself. It lies in its first block,
 * and all of its blocks start and go together. */
struct sd_cluster {
    struct sd_block *blocks[SD_CLUSTER_MAX]; /* by rank */
    uint32_t n;
    uint32_t ended;    /* bits: ranks */
    uint32_t nlive;    /* threads */
    uint32_t arrived;  /* of those, at the barrier in this phase */
    uint32_t releases; /* of the barrier */
    struct sd_cluster *next;
};

struct sd_block {
    struct sd_grid *grid;
    struct sd_warp *warps;
    uint32_t nwarps;
    uint32_t nlive;     /* threads */
    uint32_t running;   /* warps that have not finished */
    uint32_t id[3];
    uint64_t linear;
    uint32_t rank; /* in the cluster */
    struct sd_cluster *cluster;
    struct sd_cluster self; /* of which it is the first block */
    uint8_t *shared;
    uint32_t active_barriers; /* bits: somebody is waiting or has arrived */
    int64_t spent;      /* of budgets, since the last turn that counts */
    uint32_t slices;    /* turns in which nothing finished, for rotation */
    bool stuck;         /* only spinning since the last turn */
    struct sd_barrier bars[SD_BARRIERS];
    struct sd_block *next;
    size_t warps_cap, shared_cap;
};

/* The allocation that a memory access of the code used last. */
struct sd_cached_span {
    uint64_t base;
    uint64_t end;
    bool writable;
    /* What the access did last, for reading ahead. */
    uint64_t last, stride;
};

/* What a thread that runs blocks owns. */
struct sd_cpu {
    struct sd_cached_span spans[SD_SPAN_CACHE];
    uint64_t span_epoch;
    struct sd_grid *grid;
    struct sd_frame *free_frames[32]; /* by log2 of their size */
    struct sd_block *free_blocks;
    struct sd_cpu *next;
};

struct sd_grid {
    const struct sd_launch *launch;
    const struct sd_env *env;
    const struct sd_kernel_code *code;
    const struct sd_core *core;
    uint64_t number;      /* unique per process */
    uint64_t nblocks;
    uint64_t nclusters;
    uint32_t cluster_size; /* blocks */
    uint32_t nthreads;    /* per block */
    uint32_t nwarps;
    uint32_t shared_bytes;
    _Atomic uint64_t next_cluster;
    _Atomic int stop;     /* a fault or a cancellation */
    pthread_mutex_t fault_lock;
    struct sd_fault fault; /* guarded by fault_lock; the first one stays */
    /* The word pair that %envreg1 and %envreg2 point to. */
    _Alignas(64) uint8_t sync_words[64];
};

/* Note a fault of a lane and stop the grid; returns NULL for handlers. */
const struct sd_insn *sd_fault(struct sd_warp *w, const struct sd_insn *ip, unsigned lane,
                               CUresult code, uint64_t address, const char *fmt, ...)
    GP_PRINTF(6, 7);

/*
 * Host address of [addr, addr + bytes) of a generic pointer of a lane, NULL when it may not be
 * accessed (nothing is noted). site picks the cached span.
 */
void *sd_resolve(struct sd_warp *w, unsigned lane, uint64_t addr, uint32_t bytes, bool write,
                 uint32_t site);
/* The fault that belongs to a failed sd_resolve, or to a misaligned address. */
const struct sd_insn *sd_fault_access(struct sd_warp *w, const struct sd_insn *ip, unsigned lane,
                                      uint64_t addr, uint32_t bytes, bool write);

/* ---- groups (groups.c) ---- */

/* The current group leaves the stage as waiting, ready to run at ip. */
void sd_group_park(struct sd_warp *w, const struct sd_insn *ip, uint32_t state, uint32_t sync);
/* Add a waiting group. */
void sd_group_add(struct sd_warp *w, struct sd_frame *frame, const struct sd_insn *ip,
                  uint32_t mask);
/* Choose the next group when there is no current one; sets event if none can run. */
void sd_group_pick(struct sd_warp *w);
/* Another group than the current one gets its turn. */
void sd_group_rotate(struct sd_warp *w);
void sd_group_update(struct sd_warp *w);
/* A join: merge with groups at the same place, give way to one that is behind.
 * Returns the instruction to go on with in the (possibly new) current group, NULL to reload. */
const struct sd_insn *sd_group_join(struct sd_warp *w, const struct sd_insn *ip);
/* Split the current group: taken goes to ip_taken, the rest to ip_else. */
const struct sd_insn *sd_group_split(struct sd_warp *w, uint32_t taken,
                                     const struct sd_insn *ip_taken,
                                     const struct sd_insn *ip_else);
/* Lanes of the current group have ended. ip: where the others go on. */
const struct sd_insn *sd_group_exit(struct sd_warp *w, uint32_t lanes, const struct sd_insn *ip);
const struct sd_insn *sd_group_return(struct sd_warp *w, uint32_t lanes, const struct sd_insn *ip);
const struct sd_insn *sd_group_call(struct sd_warp *w, const struct sd_insn *ip,
                                    const struct sd_fn *fn, const struct sd_call_site *site,
                                    uint32_t lanes, const struct sd_insn *ret);
/* A function of the kernel's code that is not lowered yet; NULL after a fault. */
const struct sd_fn *sd_late_fn(struct sd_warp *w, const struct sd_insn *ip, uint32_t index);

/* ---- meetings (meet.c) ---- */

/* Groups that wait for lanes of their warp which have come by now can run. */
void sd_group_resolve(struct sd_warp *w);
/* All lanes of members that live are in the current group? If not the group parks. */
bool sd_group_meet(struct sd_warp *w, const struct sd_insn *ip, uint32_t members);
/* The same where each lane has members of its own: lanes whose members are there stay the current
 * group, the others park; false if none stays. */
bool sd_group_meet_each(struct sd_warp *w, const struct sd_insn *ip, const uint32_t *members);
/* The same at a bar.warp.sync, where lanes that park go on behind it. */
bool sd_group_sync_each(struct sd_warp *w, const struct sd_insn *ip, const uint32_t *members);

/* ---- frames and presets (frame.c) ---- */

struct sd_frame *sd_frame_get(struct sd_cpu *cpu, const struct sd_fn *fn);
void sd_frame_put(struct sd_cpu *cpu, struct sd_frame *frame);
void sd_frame_start_warp(struct sd_warp *w, struct sd_frame *frame);
bool sd_local_reserve(struct sd_warp *w, uint32_t bytes);
/* Value of a special register for one lane. */
uint64_t sd_sreg_value(const struct sd_warp *w, uint32_t sreg, unsigned lane);

/* ---- blocks (block.c) ---- */

/* All lanes of a barrier have come: wake the groups that wait there. */
void sd_barrier_release(struct sd_block *block, unsigned id);
/* Lanes of a warp have ended: it may have come to a barrier whole thereby. */
void sd_barrier_exit(struct sd_warp *w);
/* Arrive; true if that completed the barrier. */
bool sd_barrier_arrive(struct sd_warp *w, unsigned id, uint32_t count, uint32_t lanes);

enum sd_block_state {
    SD_BLOCK_ENDED,
    SD_BLOCK_GIVES_WAY, /* to another one */
    SD_BLOCK_WAITS,     /* for other blocks at the cluster's barrier */
};

struct sd_block *sd_block_start(struct sd_cpu *cpu, struct sd_grid *grid, const uint32_t id[3]);
enum sd_block_state sd_block_run(struct sd_cpu *cpu, struct sd_block *block);
void sd_block_end(struct sd_cpu *cpu, struct sd_block *block);
/* No warp of the block can go on although some have not ended: a fault. */
void sd_block_deadlock(struct sd_block *block);
void sd_cpu_drop(struct sd_cpu *cpu); /* free everything that it keeps */
/* The grid, the environment or the device wants this thread to look up; true: stop. */
bool sd_cpu_poll(struct sd_cpu *cpu);

/* ---- clusters (cluster.c) ---- */

/* All blocks of the cluster of that number; NULL: no memory. */
struct sd_cluster *sd_cluster_start(struct sd_cpu *cpu, struct sd_grid *grid, uint64_t number);
/* Run until all of its blocks end (true), or it should give way to another cluster (false). */
bool sd_cluster_run(struct sd_cpu *cpu, struct sd_cluster *cluster);
void sd_cluster_end(struct sd_cpu *cpu, struct sd_cluster *cluster);
/* Lanes of a warp have ended. */
void sd_cluster_exit(struct sd_warp *w, uint32_t lanes);
const struct sd_insn *sd_cluster_arrive(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_cluster_wait(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_cluster_address(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);

/* ---- run-time calls and slow instructions (rt.c, atom.c, ...) ---- */
const struct sd_insn *sd_rt_call(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_cp_async(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_cp_bulk(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_st_async(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_mbarrier(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_tex(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_multimem(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);
const struct sd_insn *sd_atom(struct sd_warp *w, const struct sd_insn *ip, uint8_t *regs);

static inline unsigned
sd_first_lane(uint32_t mask)
{
    return (unsigned)__builtin_ctz(mask);
}

/* A shared address as a generic one; out of all windows if it is not the block's own, or with
 * cluster set of no block of the cluster. */
static inline uint64_t
sd_shared_address(const struct sd_warp *w, uint64_t at, bool cluster)
{
    uint64_t slot = at / SD_WINDOW_BYTES;

    return slot == 0 || (slot < SD_WINDOW_SLOTS && (cluster || slot == w->block->rank + 1))
               ? SD_WINDOW_SHARED + at
               : SD_WINDOW_END;
}

/* One lane of a register row, of width 2, 4 or 8 bytes. */
static inline uint64_t
sd_lane_get(const void *row, unsigned lane, unsigned width)
{
    if (width == 2)
        return ((const uint16_t *)row)[lane];
    if (width == 4)
        return ((const uint32_t *)row)[lane];
    return ((const uint64_t *)row)[lane];
}

static inline void
sd_lane_put(void *row, unsigned lane, unsigned width, uint64_t v)
{
    if (width == 2)
        ((uint16_t *)row)[lane] = (uint16_t)v;
    else if (width == 4)
        ((uint32_t *)row)[lane] = (uint32_t)v;
    else
        ((uint64_t *)row)[lane] = v;
}

#endif
