/* frontend/cuda/host.h -- host memory that the program pinned or registered
 *
 * Threads: any; one lock inside.
 */
#ifndef FE_HOST_H
#define FE_HOST_H

#include "frontend/cuda/objects.h"

#include <stdbool.h>
#include <stdint.h>

struct fe_host_region {
    uint64_t base, bytes;
    uint64_t id;     /* CU_POINTER_ATTRIBUTE_BUFFER_ID */
    unsigned flags;  /* CU_MEMHOSTALLOC_* or CU_MEMHOSTREGISTER_* */
    bool registered; /* the memory is the program's own */
    struct fe_context *owner;
    /* The last asynchronous copy from a device into it; context NULL: none. */
    struct fe_context *written_in;
    struct fe_stream *written_by;
    uint64_t written_by_wire;
    uint64_t written; /* its work number */
};

/* The region around address. */
bool fe_host_find(uint64_t address, struct fe_host_region *region_p);
/* Whether [address, address + bytes) is pinned as a whole. */
bool fe_host_pinned(uint64_t address, uint64_t bytes);
/* Work n, queued in this stream of ctx, will write there. */
void fe_host_written(uint64_t address, struct fe_context *ctx, struct fe_stream *stream,
                     uint64_t stream_wire, uint64_t n);
/* Whether queued work may still write there: a copy, or any host function. */
bool fe_host_may_change(uint64_t address);

#endif
