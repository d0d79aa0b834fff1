/* protocol/directory/place.h -- which server a session shall go to: decisions only
 *
 * What is known of servers comes from the directory or from asking them; it is a hint. The server
 * has the last word, and who is refused goes to the next in the order that this gives.
 *
 * The order: who meets the need; then the preferred cost class (the owner's own machines before
 * rented ones); then the nearest by measured round trip, in steps that a program would notice;
 * then the best fit: to pack, the least memory left over; to spread, the fewest sessions and the
 * most memory. A name decides between equals, so that one state gives one order.
 *
 * Pure: no clock, no socket.
 */
#ifndef DIR_PLACE_H
#define DIR_PLACE_H

#include "protocol/directory/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACE_GPUS_MAX   64
#define PLACE_MODELS_MAX 16
#define PLACE_TEXT       128
#define PLACE_URLS       512

enum place_cost {
    PLACE_ANY, /* no preference */
    PLACE_ONPREM,
    PLACE_CLOUD,
};

/* A tenant's, by which its work goes before others'. */
enum place_priority {
    PLACE_UNKNOWN, /* of a GPU: only its server knows; of a need: any will do */
    PLACE_HIGH,
    PLACE_NORMAL,
    PLACE_LOW,
};

struct place_need {
    uint32_t gpus;        /* at least 1 */
    uint32_t model_count; /* 0: any */
    char models[PLACE_MODELS_MAX][DIR_MODEL_BYTES];
    uint64_t memory_bytes;        /* free on each GPU */
    uint32_t share;               /* percent of each GPU that nobody else was promised */
    enum place_priority priority; /* or a higher one */
    char region[PLACE_TEXT];      /* "": any */
    enum place_cost prefer;       /* PLACE_ANY is PLACE_ONPREM by default */
    bool only_preferred;          /* the other class is not used at all */
    bool spread;
};

struct place_gpu {
    char model[DIR_MODEL_BYTES], uuid[64];
    uint64_t total_bytes, free_bytes;
    uint32_t share_free, sessions;
    enum place_priority priority; /* that this client has on it */
    bool healthy;
};

struct place_server {
    char name[PLACE_TEXT], region[PLACE_TEXT], zone[PLACE_TEXT];
    char urls[PLACE_URLS]; /* by comma, in order */
    enum place_cost cost;  /* PLACE_ANY counts as the owner's own */
    bool draining;
    uint32_t sessions, sessions_max; /* 0: not known */
    uint64_t opened;                 /* sessions it ever opened; 0: it does not tell */
    uint64_t rtt_ns;                 /* UINT64_MAX: not measured */
    uint32_t gpu_count;
    struct place_gpu gpus[PLACE_GPUS_MAX];
};

bool place_gpu_meets(const struct place_need *need, const struct place_gpu *gpu);
/* How many GPUs meet the need; where they are too few, why holds a few words about what lacks. */
uint32_t place_server_meets(const struct place_need *need, const struct place_server *server,
                            char why[PLACE_TEXT]);
/* The server as it will be when a program with this need has come to it. */
void place_reserve(const struct place_need *need, struct place_server *server);
/* Indexes of those that meet the need, the best first; returns how many. order has room for count.
 */
size_t place_order(const struct place_need *need, const struct place_server *servers, size_t count,
                   uint32_t *order);

/* Whether servers would have what is needed, alone or so many together, if all sessions ended. */
bool place_ever(const struct place_need *need, const struct place_server *servers, size_t count,
                size_t max);

/* Where no server alone meets the need: the servers that do together, by the same order, but to
 * pack as few as it takes, to spread one more for each GPU. Their indexes; 0: not even all of them
 * do, or more than max would be needed. order has room for count. */
size_t place_together(const struct place_need *need, const struct place_server *servers,
                      size_t count, size_t max, uint32_t *order);

#endif
