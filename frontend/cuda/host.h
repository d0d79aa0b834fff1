/* frontend/cuda/host.h -- host memory that the program pinned or registered
 *
 * It is ordinary memory of this process until kernels may reach it: until its address is seen on
 * its way to the device, or the program asks for its device pointer or for a mapping. Then the
 * server gets pages of its own for it (shown), and it becomes coherent memory (coherent.h).
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
    uint64_t id;      /* CU_POINTER_ATTRIBUTE_BUFFER_ID */
    unsigned flags;   /* CU_MEMHOSTALLOC_* or CU_MEMHOSTREGISTER_* */
    bool sync_memops; /* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: every copy waits anyway */
    bool registered;  /* the memory is the program's own */
    struct fe_context *owner;
    /* The last asynchronous copy from a device into it; context NULL: none. */
    struct fe_context *written_in;
    struct fe_stream *written_by;
    uint64_t written_by_wire;
    uint64_t written; /* its work number */
    bool wanted;      /* kernels may reach it: to be shown before the next work */
    bool shown;
    uint64_t device; /* what kernels call base; with shown */
};

/* The region around address. */
bool fe_host_find(uint64_t address, struct fe_host_region *region_p);
/* False where there is none around address. */
bool fe_host_set_sync_memops(uint64_t address, bool on);
/* Whether address lies in memory that was registered as read-only for devices. */
bool fe_host_read_only(uint64_t address);
/* Whether [address, address + bytes) is pinned as a whole. */
bool fe_host_pinned(uint64_t address, uint64_t bytes);
/* Work n, queued in this stream of ctx, will write there. */
void fe_host_written(uint64_t address, struct fe_context *ctx, struct fe_stream *stream,
                     uint64_t stream_wire, uint64_t n);
/* Whether queued work may still write there: a copy, or any host function. */
bool fe_host_may_change(uint64_t address);

/* -- reach of kernels --- */

/* Bytes go to a device address: addresses of host memory among them (at multiples of 8 there) make
 * it wanted. Costs nothing where there is no such memory. */
void fe_host_look(uint64_t to, const void *bytes, size_t len);
/* The same for a kernel's values, packed one after the other. */
void fe_host_look_values(const struct wire_kernel_param *params, uint32_t count,
                         const uint8_t *packed);
/* This one address goes to the device. */
void fe_host_want(uint64_t address);
bool fe_host_any_wanted(void);
/* Show what is wanted. Errors: the server's, such as OUT_OF_MEMORY. */
CUresult fe_host_show_wanted(void);
/* What kernels call this address of shown memory; else the address itself. */
uint64_t fe_host_device(uint64_t address);
/* Whether the address is of memory that is shown to another server: to this one it is as any of the
 * program's, once fe_coherent_resolve_range() has been called. */
bool fe_host_elsewhere(const struct fe_session *session, uint64_t address);
/* Whether a range lies in one memory that is shown. */
bool fe_host_shown(uint64_t address, uint64_t bytes);

#endif
