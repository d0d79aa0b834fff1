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
    struct fe_context *carrier; /* with shown: whose the server's pages are; the owner, or another
                                 * one where that has failed */
    /* The last copies into it of each stream, until they are known to be done; owned. */
    struct fe_host_write *writes;
    unsigned writes_count;
    bool writes_lost; /* one was not noted, for want of memory */
    bool wanted;      /* kernels may reach it: to be shown before the next work */
    bool shown;
    bool showing;    /* on the way there: it takes no holds, and is not removed */
    unsigned holds;  /* it is not shown */
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
void fe_host_written(uint64_t address, uint64_t bytes, struct fe_context *ctx,
                     struct fe_stream *stream, uint64_t stream_wire, uint64_t n);
/* Whether queued work may still write there: a copy, or any host function. */
bool fe_host_may_change(uint64_t address);

/* -- holds ---
 *
 * Any thread's work may make memory reachable for kernels at any moment: its pages are guarded
 * then, and nobody who holds a lock of this library, nor a thread that reads the line, may touch
 * them. Whoever posts a copy that reads such memory, or that will write to it, holds it from when
 * it is looked at until that is posted and, if it will be written, noted (fe_host_written).
 *
 * Locks: a hold is taken after everything that may show memory: fe_coherent_begin(), and the locks
 *        of whoever calls that; who has one waits for nothing but room in the line.
 */

struct fe_host_hold {
    uint64_t address, bytes;
    uint64_t before; /* ids of what is held; 0: nothing is */
};

enum fe_host_held {
    FE_HOST_HELD,  /* memory of the program's alone, also where nothing of it is pinned */
    FE_HOST_SHOWN, /* not held: the server has all of it */
    FE_HOST_PARTS, /* not held: the server has some of it */
    FE_HOST_AGAIN, /* not held: being shown; fe_host_show_wanted() or fe_coherent_begin(), then
                    * again
                    */
};

enum fe_host_held fe_host_hold(struct fe_host_hold *hold, uint64_t address, uint64_t bytes);
/* Nothing where nothing is held. */
void fe_host_release(const struct fe_host_hold *hold);

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
