/* backend/tenant/shared.c -- locks and sleeping among processes */
#include "backend/tenant/segment.h"
#include "protocol/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void
be_robust_init(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

void
be_robust_lock(pthread_mutex_t *mutex)
{
    if (pthread_mutex_lock(mutex) == EOWNERDEAD)
        pthread_mutex_consistent(mutex);
}

void
be_word_ring(atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void
be_word_await(atomic_uint *word, uint32_t seen, uint64_t until_ns)
{
    struct timespec until = gp_timespec(until_ns);

    /* The time of FUTEX_WAIT_BITSET is absolute, of CLOCK_MONOTONIC. */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, until_ns != GP_FOREVER ? &until : NULL,
                  NULL, FUTEX_BITSET_MATCH_ANY);
}
