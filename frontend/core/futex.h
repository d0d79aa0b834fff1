/* frontend/core/futex.h -- sleep on a word until somebody changes it */
#ifndef FE_FUTEX_H
#define FE_FUTEX_H

#include "protocol/base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns when woken, when *word is not expected (any more), after timeout_ns (0: never), or for no
 * reason. Keeps errno. */
static inline void
fe_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    struct timespec ts = gp_timespec(timeout_ns);
    int keep = errno;

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns != 0 ? &ts : NULL, NULL, 0);
    errno = keep;
}

static inline void
fe_futex_wake(_Atomic uint32_t *word)
{
    int keep = errno;

    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = keep;
}

#endif
