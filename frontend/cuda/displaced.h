/* frontend/cuda/displaced.h -- host memory whose device address is another than its own
 *
 * The server could not have it at the program's address. Kernels take its device address as it is;
 * everything here names memory by the program's, so calls that are handed a device address ask
 * first what it is called here, and what travels is named by fe_host_device() (host.h). That
 * address is kept free in this process, where it is, so that it is no pointer to anything else.
 *
 * Threads: any; one lock inside, a leaf. Costs nothing where there is no such memory.
 */
#ifndef FE_DISPLACED_H
#define FE_DISPLACED_H

#include "cuda_api.h"
#include "frontend/cuda/geometry.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern _Atomic unsigned fe_displaced_count;

/* For want of memory it is known by its own address only. */
void fe_displaced_add(uint64_t base, uint64_t bytes, uint64_t device);
void fe_displaced_remove(uint64_t base);
uint64_t fe_displaced_find(uint64_t address, bool kept_only);

/* An address that is a device's: the program's name for it, where that is another. */
static inline uint64_t
fe_device_named(uint64_t address)
{
    if (__builtin_expect(atomic_load_explicit(&fe_displaced_count, memory_order_acquire) == 0, 1))
        return address;
    return fe_displaced_find(address, false);
}

/* The same of one that may be of any memory of the program's: that comes first. */
static inline uint64_t
fe_any_named(uint64_t address)
{
    if (__builtin_expect(atomic_load_explicit(&fe_displaced_count, memory_order_acquire) == 0, 1))
        return address;
    return fe_displaced_find(address, true);
}

/* The same for a side of a copy, as the program described it. */
static inline void
fe_side_named(struct fe_side *side)
{
    if (side->type == CU_MEMORYTYPE_DEVICE)
        side->base = fe_device_named(side->base);
    else if (side->type == CU_MEMORYTYPE_UNIFIED)
        side->base = fe_any_named(side->base);
}

#endif
