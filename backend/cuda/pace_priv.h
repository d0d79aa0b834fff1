/* backend/cuda/pace_priv.h -- what pace.c and pace_ends.c share
 *
 * pace.c is the executor's part, pace_ends.c the thread's.
 */
#ifndef BE_PACE_PRIV_H
#define BE_PACE_PRIV_H

#include "backend/cuda/pace.h"
#include "backend/sched/estimate.h"

#include <pthread.h>

#define BE_PACE_OPEN_MAX   32
#define BE_PACE_SPARES_MAX 16
#define BE_PACE_MARKS_MAX  8 /* who is alone may queue until so many marks lie ahead */

/* Calls on one stream, one after the other. */
struct be_pace_batch {
    struct be_context *context;
    CUstream stream;
    CUevent start, end;
    uint64_t est_ns, key; /* key: of the only call, 0: of several */
    unsigned calls;
    bool measure;
    bool halts;        /* a graph in it may wait for more than the device */
    uint64_t began_ns; /* the threads': seen at work; 0: not yet */
    bool is_base;      /* its start is the device's base */
    /* Guarded by lock, once it is closed. */
    bool stalled; /* its stream waits for something else than the device: it counts for nothing */
    struct be_pace_batch *next;
};

/* An event behind work that nobody counted. */
struct be_pace_mark {
    struct be_context *context;
    CUstream stream;
    CUevent event;
};

/* One that nobody waits for any more: making one costs more than recording it. */
struct be_pace_spare {
    struct be_context *context;
    CUevent event;
};

struct be_pace_device {
    /* Set once. */
    struct be_session *session;
    unsigned device;
    const atomic_uint *only; /* be_turns_only() */
    unsigned own;
    pthread_t thread, second;

    /* The executor's. */
    struct be_pace_batch *open[BE_PACE_OPEN_MAX];
    struct be_pace_mark marks[BE_PACE_MARKS_MAX]; /* oldest first */
    struct be_pace_mark passed;                   /* the last one that happened */
    unsigned mark_count, mark_calls, mark_every;
    bool awaits_values; /* its streams have waited for a value in memory, and may again */
    uint64_t batch_ns;  /* as long as a batch gets, about */

    pthread_mutex_t lock; /* rank 36 */
    pthread_cond_t came, went, looks;
    /* Guarded by lock. */
    struct be_pace_batch *head, **tail; /* closed ones */
    struct be_pace_batch *hand;         /* the thread waits for its end since hand_ns */
    uint64_t hand_ns;
    const struct be_pace_batch *beside; /* the second charges another one beside it */
    unsigned in_hand;                   /* of both threads */
    bool stop, second_sleeps;
    bool ended;          /* the session, for it worked for too long */
    unsigned open_count; /* open ones, and a call that was let in and has none yet */
    unsigned lively;     /* closed ones, also the one in hand, that are not stalled */
    uint64_t under_way_ns;
    uint64_t behind_ns; /* closed behind stalled ones since they are */
    uint64_t moved_ns;  /* one was closed, or was over, last */
    struct be_estimates estimates;
    struct be_pace_spare spares[BE_PACE_SPARES_MAX];
    unsigned spare_count;

    pthread_mutex_t apart_lock;  /* rank 33: while something is given to a stream of ours */
    pthread_mutex_t charge_lock; /* rank 34: while a batch is charged */
    /* Guarded by charge_lock. */
    struct be_context *base_context;
    CUevent base;
    float covered_ms; /* since base: charged up to here */
};

/* An event that nobody waits for any more; NULL is fine. */
void be_pace_event_give(struct be_pace_device *d, struct be_context *context, CUevent event);
void be_pace_batch_free(struct be_pace_device *d, struct be_pace_batch *batch);

/* Times are counted from now on anew. */
void be_pace_base_drop(struct be_pace_device *d);

/* -- pace_ends.c, with the lock held ------------------------------------------------------------
 */

/* It is stalled, for an earlier one of its stream is. */
bool be_pace_behind_stalled(struct be_pace_device *d, const struct be_pace_batch *batch);
/* So much less is under way. */
void be_pace_less(struct be_pace_device *d, uint64_t ns);
/* If nothing is at work, or will be by itself, somebody else may have the turn. */
void be_pace_drained(struct be_pace_device *d);
/* The threads of a device: one sees batches end, in their order; while it waits for one that takes
 * long, the other sees those of other streams. */
void *be_pace_main(void *device);
void *be_pace_second(void *device);

#endif
