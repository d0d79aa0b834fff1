/* backend/sched/estimate.c */
#include "backend/sched/estimate.h"

#define PROBES 8

uint64_t
be_estimate_key(uint64_t key, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    key ^= 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        key = (key ^ at[i]) * 0x100000001b3u;
    key ^= key >> 29; /* the low bits choose the place */
    return key != 0 ? key : 1;
}

/* The key's place; with make one for it, over the one that was seen least. */
static struct be_estimate *
place(struct be_estimates *estimates, uint64_t key, bool make)
{
    struct be_estimate *least = NULL;

    for (unsigned i = 0; i < PROBES; i++) {
        struct be_estimate *e = &estimates->list[(key + i) % BE_ESTIMATES];

        if (e->key == key)
            return e;
        if (least == NULL || (least->key != 0 && (e->key == 0 || e->seen < least->seen)))
            least = e;
    }
    if (!make)
        return NULL;
    *least = (struct be_estimate){.key = key};
    return least;
}

uint64_t
be_estimate_get(struct be_estimates *estimates, uint64_t key, uint64_t unknown_ns, bool *measure_p)
{
    struct be_estimate *e = place(estimates, key, false);

    *measure_p = true;
    if (e == NULL || e->samples == 0)
        return unknown_ns;
    e->seen++;
    *measure_p = e->samples < 3 || e->seen % BE_ESTIMATE_SAMPLING == 0;
    return e->ns;
}

void
be_estimate_learn(struct be_estimates *estimates, uint64_t key, uint64_t ns)
{
    struct be_estimate *e = place(estimates, key, true);

    if (e->samples == 0)
        e->ns = ns;
    else
        e->ns = (3 * e->ns + ns) / 4;
    if (e->samples < UINT32_MAX)
        e->samples++;
}
