/* backend/driver/soft/dev/dev.h -- what all parts of the driver half share: entry rules, objects,
 * devices
 *
 * Every exported cu* function starts with one of the SD_ENTER macros, which answer for a driver
 * that is not initialised, a forked child, a missing context and a sticky error, as CUDA does.
 *
 * Lock ranks, taken in ascending order only; none is held while a callback of the program runs:
 *   10 contexts      (ctx.c)       creation, primary activation, lists of a context
 *   15 graphs        (graph*.c)    graphs, nodes, captures
 *   20 modules       (module.c)    libraries, modules, functions
 *   30 scheduler     (sched.c)     streams, timelines, run queue
 *   40 address map   (span.c)      what lies at which device address
 *   45 device memory (arena.c)     ranges and accounting of one device
 *   46 texture table (texture.c)   what handles of textures and surfaces show
 *   47 conditions    (graph_cond.c) handles of graphs' conditions
 *   50 object slabs  (object.c)
 * Leaves: the locks of who looks at modules (protocol/base/use.h), of shared events (ipc_event.c),
 * of what a running grid launches (children.c), of notifications (notification.c) and of
 * descriptors of SMs (resource.c).
 */
#ifndef SD_DEV_H
#define SD_DEV_H

#include "protocol/abi/cuda_types.h"
#include "protocol/base/log.h"
#include "protocol/base/status.h"
#include "protocol/base/util.h"

#include "backend/driver/soft/dev/profile.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SD_DRIVER_VERSION 13000
#define SD_DEVICES_MAX    16

/* Names the entry point in the log, once each, and returns CUDA_ERROR_NOT_SUPPORTED. */
CUresult sd_refuse(const char *name);

/* Of the calling thread: what a NULL stream means; the _ptsz entry points swap it. */
CUstream sd_default_stream(void);
CUstream sd_default_stream_swap(CUstream stream);

/* What kind of object a handle points at. The values are unlikely to be found by chance. */
enum sd_kind {
    SD_FREE = 0,
    SD_CTX = 0x5d0c0001,
    SD_STREAM,
    SD_EVENT,
    SD_MODULE,
    SD_FUNCTION,
    SD_LIBRARY,
    SD_KERNEL,
    SD_POOL,
    SD_PHYS,
    SD_GRAPH,
    SD_NODE,
    SD_GRAPH_EXEC,
    SD_LINK,
    SD_ARRAY,
    SD_MIPMAP,
    SD_TEXTURE,
    SD_SURFACE,
    SD_USER_OBJECT,
    SD_GREEN,
    SD_DESC,
    SD_KIND_END,
};

/* First member of every object that the program holds a handle of. The memory of such objects
 * is used again only for objects of the same kind, so that a stale handle can be looked at. */
struct sd_object {
    _Atomic uint32_t kind;
    struct sd_object *next_free;
};

/* Zeroed apart from the header; NULL without memory. */
void *sd_object_new(enum sd_kind kind, size_t bytes);
void sd_object_free(void *object);
/* The same in two steps, for what somebody may still look at: it is found no more, and its place
 * may be used again. */
void sd_object_close(void *object);
void sd_object_rest(enum sd_kind kind, void *object);

/* True if handle can be an object of that kind, and is one at the moment. */
static inline bool
sd_object_is(const void *handle, enum sd_kind kind)
{
    const struct sd_object *object = handle;

    return (uintptr_t)handle >= 4096 && ((uintptr_t)handle & 15) == 0 &&
           atomic_load_explicit(&object->kind, memory_order_acquire) == (uint32_t)kind;
}

struct sd_pool; /* the machine's worker threads, exec.h */

struct sd_device {
    /* Written once by sd_init. */
    int ordinal;
    struct sd_profile profile;
    CUuuid uuid;
    int pci_bus;
    struct CUctx_st *primary;
    struct CUmemPoolHandle_st *default_pool;

    /* Set by cuDeviceSetMemPool. */
    _Atomic(struct CUmemPoolHandle_st *) current_pool;

    struct sd_arena *arena; /* mem.c */
};

/* CUDA_SUCCESS once cuInit was called in this process; NOT_INITIALIZED otherwise. */
CUresult sd_ready(void);
int sd_device_count(void);
/* NULL if ordinal is none. */
struct sd_device *sd_device_get(int ordinal);
/* The value of an attribute as cuDeviceGetAttribute gives it; 0 for what is not known. */
int sd_device_attribute(const struct sd_device *dev, int attribute);

/* The machine's threads, started at the first use; NULL (logged) if that fails. */
struct sd_pool *sd_machine(void);

/* The current context of the calling thread, live and without a sticky error. */
CUresult sd_enter(struct CUctx_st **ctx_p);

#define SD_ENTER_READY()                                                                           \
    do {                                                                                           \
        CUresult sd_cr_ = sd_ready();                                                              \
        if (GP_UNLIKELY(sd_cr_ != CUDA_SUCCESS))                                                   \
            return sd_cr_;                                                                         \
    } while (0)

#define SD_ENTER(ctx)                                                                              \
    do {                                                                                           \
        CUresult sd_cr_ = sd_enter(&(ctx));                                                        \
        if (GP_UNLIKELY(sd_cr_ != CUDA_SUCCESS))                                                   \
            return sd_cr_;                                                                         \
    } while (0)

#endif
