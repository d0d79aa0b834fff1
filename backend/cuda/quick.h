/* backend/cuda/quick.h -- launches that need not ask
 *
 * Where a session is alone on its device, and all of its memory is there and reached already by the
 * row of calls that it is in, be_stay_enter() and be_pace_enter() let a launch through for what a
 * few words say. be_pace_enter() notes them here, and whoever changes what is not among them
 * forgets them: be_stay_enter() with a call that reaches only what it names, the row's end, a
 * context's beginning and end. So a launch is let in here exactly where both would do so, and who
 * else comes, or wants the memory, is seen at the next launch, as there.
 *
 * Threads: the executor.
 */
#ifndef BE_QUICK_H
#define BE_QUICK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct be_context;

struct be_quick {
    const struct be_context *context; /* launches of this one; NULL: all ask */
    const atomic_uint *only;          /* own: nobody else works on its device */
    unsigned own;
    const atomic_bool *closed; /* somebody wants the memory; NULL: never */
    unsigned *calls, most;     /* a mark is due where so many have been counted */
};

static inline bool
be_quick_pass(struct be_quick *q, const struct be_context *context)
{
    if (q->context != context || context == NULL || *q->calls + 1 >= q->most ||
        atomic_load_explicit(q->only, memory_order_acquire) != q->own ||
        (q->closed != NULL && atomic_load(q->closed)))
        return false;
    ++*q->calls;
    return true;
}

static inline void
be_quick_forget(struct be_quick *q)
{
    q->context = NULL;
}

#endif
