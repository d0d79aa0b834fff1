/* frontend/core/stats.h -- counters, printed at exit for GPUPOOL_STATS=1|json
 *
 * Threads: any.
 */
#ifndef FE_STATS_H
#define FE_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct fe_sessions;

struct fe_stats {
    uint64_t calls_async, calls_sync, calls_local;
    uint64_t exposed_round_trips; /* times a thread waited for the server, the opening included */
    uint64_t waited_ns;
    uint64_t bytes_sent, bytes_received; /* frames, without TLS's own */
    uint64_t batches;                    /* writes to the line */
    uint64_t wakes;                      /* of the sending thread */
    uint64_t held; /* times that calls lay unsent for a wait that did not follow in time */
};

/* Count a call that was answered here. Nothing unless statistics were asked for. */
#define FE_COUNT_LOCAL()                                                                           \
    do {                                                                                           \
        if (__builtin_expect(fe_stats_on, 0))                                                      \
            fe_stats_count_local();                                                                \
    } while (0)

extern bool fe_stats_on; /* set once when the library is loaded */
void fe_stats_count_local(void);

/* Bytes copied from one server to another: straight, by which lane, or by way of this process. */
enum fe_between {
    FE_BETWEEN_TLS, /* tcp too, which is for tests */
    FE_BETWEEN_RDMA,
    FE_BETWEEN_RELAYED,
    FE_BETWEEN_WAYS,
};
void fe_stats_count_between(uint64_t bytes, enum fe_between way);

/* To standard error, if the environment asks for it; once, at exit. */
void fe_stats_print(const struct fe_sessions *all);

/* A snapshot of all sessions together; zeros without one. */
void fe_stats_get(struct fe_stats *stats_p);

#endif
