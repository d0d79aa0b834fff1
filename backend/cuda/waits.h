/* backend/cuda/waits.h -- waiting for the device without blocking the sequence
 *
 * A wait is an event, or a whole context, and what to do then. Waits of one lane (a stream) are
 * done in order by one thread at a time; lanes do not wait for each other. Threads are made when
 * needed and kept.
 *
 * Threads: _submit from any, a driver's callback included. run is called on a waiter, once.
 * Lock:    waits.lock (rank 20), not held while waiting or running.
 */
#ifndef BE_WAITS_H
#define BE_WAITS_H

#include "backend/driver/driver.h"

#include <stdint.h>

struct be_waits;
struct be_context;

enum be_wait_kind {
    BE_WAIT_EVENT,
    BE_WAIT_CONTEXT, /* all work of the context */
    BE_WAIT_NOTHING, /* only leave the thread we are on */
};

struct be_wait {
    enum be_wait_kind kind;
    CUevent event;              /* the waiter starts when it happened */
    CUevent done;               /* the executor may run it once this happened; mostly the same */
    struct be_context *context; /* current on the thread that runs it; NULL: none */
    const void *lane;           /* NULL: a lane of its own */
    void (*run)(struct be_wait *wait, CUresult cr); /* owns the wait from then on */
    struct be_wait *next;                           /* of whoever holds it */
    uint64_t number;                                /* by age; set by be_waits_submit() */
};

GP_CHECK enum gp_status be_waits_create(const struct be_driver *driver, unsigned threads_max,
                                        struct be_waits **waits_p);
/* Waits for what was submitted; nothing may be submitted any more. */
void be_waits_destroy(struct be_waits *waits);
void be_waits_submit(struct be_waits *waits, struct be_wait *wait);
/* What is submitted for this key from now on does not wait for what was. */
void be_waits_forget_lane(struct be_waits *waits, const void *key);
/* Wait until nothing of context (NULL: nothing at all) is waited for or running. */
void be_waits_drain(struct be_waits *waits, const struct be_context *context);

#endif
