/* protocol/base/clock.h -- monotonic time
 *
 * Times are nanoseconds of CLOCK_MONOTONIC, deadlines are absolute. Code that must be tested
 * without sleeping takes a struct gp_clock; everything else calls gp_now_ns().
 */
#ifndef GP_CLOCK_H
#define GP_CLOCK_H

#include <stdint.h>
#include <time.h>

#define GP_NS_PER_US 1000ull
#define GP_NS_PER_MS 1000000ull
#define GP_NS_PER_S  1000000000ull

/* A deadline that never passes. */
#define GP_FOREVER UINT64_MAX

/* A source of time; now is called from any thread. */
struct gp_clock {
    uint64_t (*now)(const struct gp_clock *clock);
};

/* The machine's own clock. */
extern const struct gp_clock gp_clock_monotonic;

/* A clock that stands still until its owner moves it; the owner serialises that. */
struct gp_clock_fake {
    struct gp_clock clock; /* .now = gp_clock_fake_now */
    _Atomic uint64_t ns;
};

#define GP_CLOCK_FAKE_INIT(start_ns)                                                               \
    {                                                                                              \
        .clock = {gp_clock_fake_now}, .ns = (start_ns)                                             \
    }

uint64_t gp_clock_fake_now(const struct gp_clock *clock);
void gp_clock_fake_advance(struct gp_clock_fake *fake, uint64_t by_ns);

uint64_t gp_now_ns(void);
/* Or until a signal is handled. */
void gp_sleep_ns(uint64_t ns);
/* What the calling thread has had of a processor. */
uint64_t gp_thread_cpu_ns(void);
/* Milliseconds since 1970, to be shown. */
uint64_t gp_wall_ms(void);

static inline uint64_t
gp_clock_ns(const struct gp_clock *clock)
{
    return clock->now(clock);
}

/* What the C library takes for a time or how long, both from 0 on; GP_FOREVER is 584 years. */
static inline struct timespec
gp_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / GP_NS_PER_S),
                             .tv_nsec = (long)(ns % GP_NS_PER_S)};
}

/* now + after_ns, GP_FOREVER where that would wrap. */
uint64_t gp_deadline_after(uint64_t now_ns, uint64_t after_ns);

/* What poll(2) takes: milliseconds rounded up, 0 once passed, -1 for GP_FOREVER. */
int gp_deadline_poll_ms(uint64_t now_ns, uint64_t deadline_ns);

#endif
