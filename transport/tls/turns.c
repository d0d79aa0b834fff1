/* transport/tls/turns.c */
#include "transport/tls/turns.h"

void
tp_turn_init(struct tp_turn *turn)
{
    *turn = (struct tp_turn){.busy = false};
    pthread_mutex_init(&turn->lock, NULL);
    pthread_cond_init(&turn->freed, NULL);
}

void
tp_turn_fini(struct tp_turn *turn)
{
    pthread_cond_destroy(&turn->freed);
    pthread_mutex_destroy(&turn->lock);
}

static void
set_waits(struct tp_turn *turn, bool waits)
{
    atomic_store_explicit(&turn->sender_waits, waits, memory_order_relaxed);
}

void
tp_turn_take_to_send(struct tp_turn *turn)
{
    pthread_mutex_lock(&turn->lock);
    if (turn->busy) {
        set_waits(turn, true);
        while (turn->busy)
            pthread_cond_wait(&turn->freed, &turn->lock);
        set_waits(turn, false);
    }
    turn->busy = true;
    pthread_mutex_unlock(&turn->lock);
}

void
tp_turn_take_to_receive(struct tp_turn *turn)
{
    pthread_mutex_lock(&turn->lock);
    while (turn->busy || tp_turn_wanted(turn))
        pthread_cond_wait(&turn->freed, &turn->lock);
    turn->busy = true;
    pthread_mutex_unlock(&turn->lock);
}

void
tp_turn_give(struct tp_turn *turn)
{
    pthread_mutex_lock(&turn->lock);
    turn->busy = false;
    pthread_mutex_unlock(&turn->lock);
    pthread_cond_signal(&turn->freed); /* there are two of us: at most one waits */
}
