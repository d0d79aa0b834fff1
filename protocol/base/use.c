/* protocol/base/use.c -- who looks at what may be retired, counted in two phases */
#include "protocol/base/use.h"

#include "protocol/base/util.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Each user is counted in the phase that it began in. What is retired is fresh. When nobody of the
 * other phase is left, aged things end, fresh ones become aged and the phases change: so whatever
 * ends has seen both counts at zero since it was retired. Who began with a phase that was over by
 * then holds up the next change, no more.
 *
 * A user counts itself before it looks at a handle, and who retires closes the handle before it
 * looks at the counts: one of them sees the other. It is the same with waiting and the last one's
 * count.
 */
static _Atomic unsigned phase;
static _Atomic uint64_t users[2];
static atomic_bool waiting; /* something is fresh or aged */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gp_retired *fresh, *aged; /* guarded by lock */

/* The lock is held. What may end goes to the front of *over. */
static void
change_phase(struct gp_retired **over)
{
    unsigned other = 1 - atomic_load(&phase);
    struct gp_retired **last = &aged;

    if (atomic_load(&users[other]) != 0)
        return;
    while (*last != NULL)
        last = &(*last)->next;
    *last = *over;
    *over = aged;
    aged = fresh;
    fresh = NULL;
    atomic_store(&phase, other);
}

static void
end_what_may(void)
{
    struct gp_retired *over = NULL;

    pthread_mutex_lock(&lock);
    if (fresh != NULL || aged != NULL) {
        change_phase(&over);
        change_phase(&over); /* where nobody is there, all of it ends now */
    }
    atomic_store(&waiting, fresh != NULL || aged != NULL);
    pthread_mutex_unlock(&lock);
    while (over != NULL) {
        struct gp_retired *what = over;

        over = what->next;
        what->end(what);
    }
}

unsigned
gp_use_begin(void)
{
    unsigned mine = atomic_load(&phase);

    atomic_fetch_add(&users[mine], 1);
    return mine;
}

void
gp_use_end(unsigned mine)
{
    if (atomic_fetch_sub(&users[mine], 1) == 1 && GP_UNLIKELY(atomic_load(&waiting)))
        end_what_may();
}

void
gp_retire(struct gp_retired *what)
{
    pthread_mutex_lock(&lock);
    what->next = fresh;
    fresh = what;
    atomic_store(&waiting, true);
    pthread_mutex_unlock(&lock);
    end_what_may();
}
