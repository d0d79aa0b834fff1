/* tests/support/played_device.h -- what played RDMA devices have in common: completion queues, and
 * calls that change nothing
 *
 * Threads: one.
 */
#ifndef TEST_PLAYED_DEVICE_H
#define TEST_PLAYED_DEVICE_H

#include "protocol/base/util.h"
#include "transport/rdma/verbs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is in it, and behind that what is on its way there. */
struct played_queue {
    struct ibv_cq cq; /* cq_context: the queue itself */
    struct ibv_wc wc[1024];
    unsigned first, count, late;
};

static inline void
played_queue_make(struct played_queue *q, struct ibv_context *context)
{
    q->cq = (struct ibv_cq){.context = context, .cq_context = q};
}

/* On its way; false where there is no room. */
static inline bool
played_complete(struct played_queue *q, struct ibv_wc wc)
{
    if (q->count + q->late == GP_ARRAY_LEN(q->wc))
        return false;
    q->wc[(q->first + q->count + q->late++) % GP_ARRAY_LEN(q->wc)] = wc;
    return true;
}

/* So many of those that are on their way, at most. */
static inline void
played_arrive(struct played_queue *q, unsigned most)
{
    for (; most > 0 && q->late > 0; most--, q->late--)
        q->count++;
}

static inline int
played_poll_cq(struct ibv_cq *cq, int most, struct ibv_wc *wc)
{
    struct played_queue *q = cq->cq_context;
    int n = 0;

    for (; n < most && q->count > 0; n++, q->count--) {
        wc[n] = q->wc[q->first];
        q->first = (q->first + 1) % GP_ARRAY_LEN(q->wc);
    }
    return n;
}

static inline int
played_req_notify_cq(struct ibv_cq *cq, int solicited)
{
    (void)cq;
    (void)solicited;
    return 0;
}

static inline int
played_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq_p, void **user_p)
{
    (void)channel;
    (void)cq_p;
    (void)user_p;
    return -1;
}

#endif
