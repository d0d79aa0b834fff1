/* protocol/directory/place.c */
#include "protocol/directory/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Round trips are put into steps of factor two from here on: below, one look at a busy machine
 * tells nothing. */
#define RTT_FLOOR_NS 1000000ull

static bool
model_meets(const struct place_need *need, const struct place_gpu *gpu)
{
    for (uint32_t i = 0; i < need->model_count; i++)
        if (dir_model_is(gpu->model, need->models[i]))
            return true;
    return need->model_count == 0;
}

/* What the server has not said yet it will. */
static bool
priority_meets(const struct place_need *need, const struct place_gpu *gpu)
{
    return need->priority == PLACE_UNKNOWN || gpu->priority <= need->priority;
}

bool
place_gpu_meets(const struct place_need *need, const struct place_gpu *gpu)
{
    return gpu->healthy && model_meets(need, gpu) && gpu->free_bytes >= need->memory_bytes &&
           gpu->share_free >= need->share && priority_meets(need, gpu);
}

/* Who says nothing means the owner's own machines. */
static bool
is_preferred(const struct place_need *need, const struct place_server *server)
{
    return (server->cost == PLACE_CLOUD) == (need->prefer == PLACE_CLOUD);
}

/* What is wrong with the server as a whole; NULL: nothing. */
static const char *
server_lacks(const struct place_need *need, const struct place_server *server)
{
    if (server->draining)
        return "drained";
    if (need->region[0] != '\0' && strcmp(need->region, server->region) != 0)
        return "another region";
    if (need->only_preferred && !is_preferred(need, server))
        return "another cost class";
    if (server->sessions_max != 0 && server->sessions >= server->sessions_max)
        return "no session left";
    return NULL;
}

uint32_t
place_server_meets(const struct place_need *need, const struct place_server *server,
                   char why[PLACE_TEXT])
{
    const char *lacks = server_lacks(need, server);
    uint32_t models = 0, classes = 0, memory = 0, met = 0;

    for (uint32_t i = 0; i < server->gpu_count; i++) {
        const struct place_gpu *gpu = &server->gpus[i];

        models += model_meets(need, gpu);
        classes += model_meets(need, gpu) && priority_meets(need, gpu);
        memory += model_meets(need, gpu) && gpu->free_bytes >= need->memory_bytes;
        met += place_gpu_meets(need, gpu);
    }
    why[0] = '\0';
    if (lacks == NULL && met >= need->gpus)
        return met;
    if (lacks != NULL)
        snprintf(why, PLACE_TEXT, "%s", lacks);
    else if (models < need->gpus)
        snprintf(why, PLACE_TEXT, "%u of %u GPUs of that model", models, need->gpus);
    else if (classes < need->gpus)
        snprintf(why, PLACE_TEXT, "%u of %u GPUs where the tenant has that priority", classes,
                 need->gpus);
    else if (memory < need->gpus)
        snprintf(why, PLACE_TEXT, "%u of %u GPUs with so much memory free", memory, need->gpus);
    else
        snprintf(why, PLACE_TEXT, "%u of %u GPUs healthy and with so much share free", met,
                 need->gpus);
    return 0;
}

void
place_reserve(const struct place_need *need, struct place_server *server)
{
    bool taken[PLACE_GPUS_MAX] = {false};

    server->sessions++;
    server->opened++;
    for (uint32_t left = need->gpus; left > 0; left--) {
        struct place_gpu *best = NULL;

        for (uint32_t i = 0; i < server->gpu_count; i++) {
            struct place_gpu *gpu = &server->gpus[i];

            if (!taken[i] && place_gpu_meets(need, gpu) &&
                (best == NULL || (need->spread ? gpu->free_bytes > best->free_bytes
                                               : gpu->free_bytes < best->free_bytes)))
                best = gpu;
        }
        if (best == NULL)
            return; /* of several servers used together each has some */
        taken[best - server->gpus] = true;
        best->sessions++;
        best->free_bytes -= need->memory_bytes;
        best->share_free -= need->share;
    }
}

/* What the order looks at, lower first. */
struct rank {
    uint32_t index;
    uint32_t class, distance;
    uint64_t fit;
    const char *name;
};

static uint32_t
distance_of(uint64_t rtt_ns)
{
    uint32_t steps = 0;

    if (rtt_ns == UINT64_MAX)
        return UINT32_MAX;
    for (; rtt_ns > RTT_FLOOR_NS; rtt_ns /= 2)
        steps++;
    return steps;
}

/* To pack: how much the best GPUs would have left over. To spread: sessions first, then how little
 * is free. */
static uint64_t
fit_of(const struct place_need *need, const struct place_server *server)
{
    uint64_t least = UINT64_MAX, most = 0;
    uint32_t sessions = 0;

    for (uint32_t i = 0; i < server->gpu_count; i++) {
        const struct place_gpu *gpu = &server->gpus[i];

        if (!place_gpu_meets(need, gpu))
            continue;
        least = gpu->free_bytes < least ? gpu->free_bytes : least;
        most = gpu->free_bytes > most ? gpu->free_bytes : most;
        sessions += gpu->sessions;
    }
    if (need->spread)
        return ((uint64_t)sessions << 40) + ((1ull << 40) - 1 - (most >> 20));
    return least - need->memory_bytes;
}

static int
by_rank(const void *x, const void *y)
{
    const struct rank *a = x, *b = y;

    if (a->class != b->class)
        return a->class < b->class ? -1 : 1;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    if (a->fit != b->fit)
        return a->fit < b->fit ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* by_count: who has most goes before who fits best. */
static size_t
order_by(const struct place_need *need, const struct place_server *servers, size_t count,
         bool by_count, uint32_t *order)
{
    struct rank *ranks = calloc(count + 1, sizeof(*ranks));
    char why[PLACE_TEXT];
    size_t n = 0;

    for (size_t i = 0; ranks != NULL && i < count; i++) {
        uint32_t met = place_server_meets(need, &servers[i], why);

        if (met == 0)
            continue;
        ranks[n++] = (struct rank){.index = (uint32_t)i,
                                   .class = !is_preferred(need, &servers[i]),
                                   .distance = distance_of(servers[i].rtt_ns),
                                   .fit = by_count ? UINT64_MAX - met : fit_of(need, &servers[i]),
                                   .name = servers[i].name};
    }
    if (n > 0)
        qsort(ranks, n, sizeof(*ranks), by_rank);
    for (size_t i = 0; i < n; i++)
        order[i] = ranks[i].index;
    free(ranks);
    return n;
}

size_t
place_order(const struct place_need *need, const struct place_server *servers, size_t count,
            uint32_t *order)
{
    return order_by(need, servers, count, false, order);
}

size_t
place_together(const struct place_need *need, const struct place_server *servers, size_t count,
               size_t max, uint32_t *order)
{
    struct place_need one = *need;
    uint32_t got = 0;
    char why[PLACE_TEXT];
    size_t n, taken = 0;

    one.gpus = 1;
    n = order_by(&one, servers, count, !need->spread, order);
    while (taken < n && taken < max && (got < need->gpus || (need->spread && taken < need->gpus)))
        got += place_server_meets(&one, &servers[order[taken++]], why);
    return got >= need->gpus ? taken : 0;
}

static void
server_empty(struct place_server *server)
{
    server->sessions = 0;
    for (uint32_t i = 0; i < server->gpu_count; i++) {
        struct place_gpu *gpu = &server->gpus[i];

        gpu->free_bytes = gpu->total_bytes;
        gpu->share_free = 100;
        gpu->sessions = 0;
    }
}

bool
place_ever(const struct place_need *need, const struct place_server *servers, size_t count,
           size_t max)
{
    struct place_server *empty = calloc(count + 1, sizeof(*empty));
    uint32_t *order = calloc(count + 1, sizeof(*order));
    bool ever = true; /* who cannot tell waits as all others */

    if (empty != NULL && order != NULL) {
        for (size_t i = 0; i < count; i++) {
            empty[i] = servers[i];
            server_empty(&empty[i]);
        }
        ever = place_order(need, empty, count, order) > 0 ||
               place_together(need, empty, count, max, order) > 0;
    }
    free(empty);
    free(order);
    return ever;
}
