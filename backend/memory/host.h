/* backend/memory/host.h -- host memory of ours that stands for the client's, at the same address
 *
 * A segment is a run of whole pages: ordinary memory, registered with the driver so that kernels
 * of all devices reach it. Ranges that share pages share segments; a segment goes with the last
 * range in it. Where an address is taken in this process the range lies elsewhere.
 *
 * Threads: the executor.
 */
#ifndef BE_HOST_H
#define BE_HOST_H

#include "backend/driver/driver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct be_host_segment {
    uint64_t base, bytes;
    uint64_t device; /* what kernels call base */
    unsigned refs;
};

struct be_host {
    const struct be_driver_table *driver;
    uint64_t bytes_max; /* of all segments */
    uint64_t bytes;
    struct be_host_segment *list; /* sorted, never overlapping */
    size_t count, room;
};

/* Memory behind [address, address + bytes), all zeros where there was none. *local_p is where we
 * reach it, *device_p where kernels do. Errors: INVALID_VALUE, OUT_OF_MEMORY; the driver's. */
CUresult be_host_map(struct be_host *host, uint64_t address, uint64_t bytes, uint64_t *local_p,
                     uint64_t *device_p);
/* What be_host_map() gave as local, once. Waits for what runs. */
void be_host_unmap(struct be_host *host, uint64_t local, uint64_t bytes);
void be_host_destroy(struct be_host *host);

#endif
