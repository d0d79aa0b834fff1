/* transport/tls/turns.h -- whose turn it is with an object that two threads share
 *
 * A lock for one sender and one receiver, in which a waiting sender goes first. With a plain mutex
 * a receiver of bulk data takes it again before the woken sender runs: a small frame then waited
 * for tens of milliseconds. The receiver asks tp_turn_wanted() between records and lets go.
 */
#ifndef TP_TURN_H
#define TP_TURN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct tp_turn {
    pthread_mutex_t lock; /* a leaf; guards the flags, held for a few instructions */
    pthread_cond_t freed;
    bool busy;
    atomic_bool sender_waits; /* written under lock; read anywhere, relaxed: a hint */
};

void tp_turn_init(struct tp_turn *turn);
void tp_turn_fini(struct tp_turn *turn);
void tp_turn_take_to_send(struct tp_turn *turn);
void tp_turn_take_to_receive(struct tp_turn *turn);
void tp_turn_give(struct tp_turn *turn);

static inline bool
tp_turn_wanted(struct tp_turn *turn)
{
    return atomic_load_explicit(&turn->sender_waits, memory_order_relaxed);
}

#endif
