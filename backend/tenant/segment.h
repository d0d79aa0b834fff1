/* backend/tenant/segment.h -- the shared memory itself: for this folder and its tests only
 *
 * Plain words, no pointers. What is not atomic is guarded by lock.
 */
#ifndef BE_SEGMENT_H
#define BE_SEGMENT_H

#include "backend/sched/fair.h"
#include "backend/sched/room.h"
#include "backend/tenant/ledger.h"

#include <pthread.h>
#include <stdatomic.h>

#define BE_SEGMENT_MAGIC 0x67706c65u

struct be_slot_device {
    /* Grown by the slot's worker under the lock; read by all under it. */
    atomic_uint_least64_t lease, other;
    /* The worker's own news: never above lease; fixed is the part of used that cannot be paged,
     * away what is not on the device now. */
    atomic_uint_least64_t used, fixed, away;
};

struct be_slot {
    atomic_uint taken;  /* by the supervisor, for a process */
    atomic_uint tenant; /* index + 1 of an open session; 0: none */
    atomic_uint looks;  /* the session only looks, it counts as none */
    atomic_uint word;   /* a futex: its turn, or its wait, has changed */
    atomic_uint told;   /* that it is idle and will be ended */
    atomic_uint room;   /* a futex: its memory has to come or to go, perhaps */
    /* The worker's own news: what of the host's memory and of the disk it has for paging, and how
     * much memory of devices is packed there. */
    atomic_uint_least64_t host, spilled, packed;
    /* The worker's own news: how often it began to give devices work, and when it did last. */
    atomic_uint_least64_t work, work_ns;
    struct be_slot_device device[BE_LEDGER_DEVICES];
};

struct be_segment_turns {
    pthread_mutex_t lock; /* robust, rank 61 */
    atomic_uint only;     /* fair.only, to look at without the lock */
    struct be_fair fair;  /* guarded by lock; members are slots, groups tenants */
};

struct be_segment_rooms {
    pthread_mutex_t lock; /* robust, rank 62 */
    struct be_room room;  /* guarded by lock; members are slots */
    uint64_t keep_bytes;  /* guarded by lock: of the device, for nobody's memory */
};

_Static_assert(BE_ROOM_MEMBERS == BE_LEDGER_SLOTS, "members are slots");
_Static_assert(BE_FAIR_MEMBERS == BE_LEDGER_SLOTS, "members are slots");
_Static_assert(BE_FAIR_GROUPS > BE_TENANTS_MAX, "groups are tenants");

struct be_segment_tenant {
    struct be_policy policy;
    bool known; /* ever; entries are never forgotten, sessions may name them */
    bool gone;  /* not in the configuration any more */
};

struct be_segment_device {
    uint64_t total_bytes; /* 0: nobody has looked yet */
    bool shared;
    bool cost_known;
    uint64_t context_cost;
    /* Counts wishes for unused leases: of each tenant's sessions, and [0] of all. */
    atomic_uint_least64_t wishes[BE_TENANTS_MAX + 1];
};

struct be_segment {
    uint32_t magic, bytes;
    pthread_mutex_t lock; /* robust, rank 60 */
    atomic_uint bell;     /* a futex */
    atomic_uint governed;
    uint32_t percent; /* of the devices' memory may be promised; set once, as the next four */
    bool eager;
    /* Of the host's memory for what does not fit; 0: as much as is promised. And of the disk. */
    uint64_t arena_bytes, spill_bytes;
    atomic_uint spill_bad; /* it could not be written lately: it counts for nothing */
    uint32_t order_count;
    uint32_t order[BE_TENANTS_MAX]; /* entries in the configuration's order */
    unsigned slot_end;              /* none is taken from here on */
    struct be_segment_tenant tenants[BE_TENANTS_MAX];
    struct be_segment_device devices[BE_LEDGER_DEVICES];
    struct be_segment_turns turns[BE_LEDGER_DEVICES];
    struct be_segment_rooms rooms[BE_LEDGER_DEVICES];
    struct be_slot slots[BE_LEDGER_SLOTS];
};

struct be_ledger {
    struct be_segment *segment;
    int fd;
    unsigned slot; /* of this process; BE_LEDGER_SLOTS: the supervisor */
};

/* A mutex that processes share, and that outlives one that died with it: who takes it next finds
 * words that are good enough, see the head of ledger.h, and its slot goes when it is reaped. */
void be_robust_init(pthread_mutex_t *mutex);
void be_robust_lock(pthread_mutex_t *mutex);

/* A word that processes sleep on: count it up and wake all; sleep while it is as seen, or until a
 * time, GP_FOREVER: without end. */
void be_word_ring(atomic_uint *word);
void be_word_await(atomic_uint *word, uint32_t seen, uint64_t until_ns);

void be_segment_lock(struct be_segment *segment);
void be_segment_unlock(struct be_segment *segment);

#endif
