/* protocol/base/clock.c */
#include "protocol/base/clock.h"

#include "protocol/base/util.h"

#include <limits.h>
#include <time.h>

uint64_t
gp_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
    return (uint64_t)ts.tv_sec * GP_NS_PER_S + (uint64_t)ts.tv_nsec;
}

void
gp_sleep_ns(uint64_t ns)
{
    const struct timespec ts = gp_timespec(ns);

    (void)nanosleep(&ts, NULL);
}

uint64_t
gp_thread_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* likewise */
    return (uint64_t)ts.tv_sec * GP_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t
gp_wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / GP_NS_PER_MS;
}

static uint64_t
monotonic_now(const struct gp_clock *clock)
{
    (void)clock;
    return gp_now_ns();
}

const struct gp_clock gp_clock_monotonic = {monotonic_now};

uint64_t
gp_clock_fake_now(const struct gp_clock *clock)
{
    const struct gp_clock_fake *fake = (const struct gp_clock_fake *)clock;

    return fake->ns;
}

void
gp_clock_fake_advance(struct gp_clock_fake *fake, uint64_t by_ns)
{
    fake->ns += by_ns;
}

uint64_t
gp_deadline_after(uint64_t now_ns, uint64_t after_ns)
{
    return after_ns > GP_FOREVER - now_ns ? GP_FOREVER : now_ns + after_ns;
}

int
gp_deadline_poll_ms(uint64_t now_ns, uint64_t deadline_ns)
{
    uint64_t ms;

    if (deadline_ns == GP_FOREVER)
        return -1;
    if (deadline_ns <= now_ns)
        return 0;
    ms = (deadline_ns - now_ns - 1) / GP_NS_PER_MS + 1;
    return (int)gp_min_u64(ms, INT_MAX);
}
