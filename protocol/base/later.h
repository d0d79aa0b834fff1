/* protocol/base/later.h -- what is to be run later, one after the other, on a thread of its own
 *
 * For functions of the program that must not run on the thread that came to where they are due: it
 * may hold locks that they take. Entries lie in the objects that they are of, so adding one cannot
 * fail. At a process's end what was not run is forgotten; nobody waits for it.
 *
 * Threads: any; the lock is a leaf.
 */
#ifndef GP_LATER_H
#define GP_LATER_H

#include <pthread.h>
#include <stdbool.h>

struct gp_later {
    struct gp_later *next; /* the queue's */
    void *object;          /* set by who adds it */
};

struct gp_later_queue {
    pthread_mutex_t lock;
    pthread_cond_t came;
    /* Guarded by lock. */
    struct gp_later *first, *last;
    bool served;
};

#define GP_LATER_QUEUE_INIT                                                                        \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER                        \
    }

/* See that a thread serves the queue: start, which makes it, is called until it succeeds once.
 * False: it failed. */
bool gp_later_serve(struct gp_later_queue *queue, bool (*start)(void));

/* The entry is the queue's until gp_later_next() gives it. */
void gp_later_add(struct gp_later_queue *queue, struct gp_later *entry);

/* The thread's: the object of the oldest entry; waits for one. */
void *gp_later_next(struct gp_later_queue *queue);

#endif
