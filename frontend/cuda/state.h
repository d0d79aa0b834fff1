/* frontend/cuda/state.h -- what the semantic layer keeps for the process
 *
 * Made once, by the first cuInit that succeeds; never unmade.
 */
#ifndef FE_STATE_H
#define FE_STATE_H

#include "frontend/core/session.h"
#include "frontend/cuda/alloc.h"
#include "frontend/cuda/check.h"
#include "frontend/cuda/objects.h"

struct fe_state {
    unsigned device_count;
    const struct fe_device *devices;              /* by the program's ordinals */
    struct fe_alloc *allocs[FE_SESSIONS_MAX];     /* addresses of each server; by its index */
    struct fe_context *primary[WIRE_DEVICES_MAX]; /* dormant until retained */
    struct fe_launch_limits limits[WIRE_DEVICES_MAX];
    bool launch_blocking; /* CUDA_LAUNCH_BLOCKING=1: a launch returns when it is done */
};

/* cuInit: the engine's fe_start(), then the state. */
CUresult fe_state_start(void);

/* The state, or NULL with *cr_p saying what a call must return: NOT_INITIALIZED before cuInit and
 * in a forked child, DEINITIALIZED at the end, an error after the loss of all servers. */
struct fe_state *fe_state_get(CUresult *cr_p);

/* The state behind a call that fe_enter let in. */
struct fe_state *fe_state_of(const struct fe_call *call);

/* The server of a device of the program, and a server's first one. */
struct fe_session *fe_device_session(int device);
int fe_device_first(const struct fe_session *session);

/* Addresses of the server that the call goes to, or that a device belongs to. */
struct fe_alloc *fe_alloc_of(const struct fe_call *call);
struct fe_alloc *fe_alloc_of_device(int device);
/*
 * Those that an address is one of: servers' ranges never overlap. What lies outside of all of them,
 * such as modules' variables, may lie at the same address on several: near, and without one the
 * server of the thread's context, comes before the others.
 */
struct fe_alloc *fe_alloc_around(const struct fe_session *near, uint64_t address);
/* The server whose memory it is; NULL: none of any. */
struct fe_session *fe_address_session(const struct fe_session *near, uint64_t address);

/* Whether there are several servers. */
extern bool fe_several;

bool fe_memory_elsewhere(const struct fe_call *call, uint64_t address);
/* Whether an address is memory that another server has, its kernels' view of host memory
 * included. */
static inline bool
fe_elsewhere(const struct fe_call *call, uint64_t address)
{
    return __builtin_expect(fe_several, 0) && fe_memory_elsewhere(call, address);
}

/* The device of an ordinal, or NULL. */
const struct fe_device *fe_state_device(const struct fe_state *state, CUdevice dev);

/* The program's ordinal of a server's device, or -1. */
int fe_device_of_server(const struct fe_session *session, int32_t server);

/* What a call that is answered here does first with its device: the state and the server's words on
 * it, either NULL if not wanted, or the code that the driver gives. Counts the call as local. */
CUresult fe_device_get(CUdevice dev, struct fe_state **state_p, const struct wire_device **info_p);

/* A device attribute; 0 for one that the server did not name. */
int fe_device_attribute(const struct fe_state *state, int device, int attribute);

/* cuCtxGetCurrent without checks: the thread's context, live or dormant, or NULL. */
struct fe_context *fe_context_current(void);

/* The object behind a context handle, NULL meaning the current one.
 * Errors: CUDA_ERROR_INVALID_CONTEXT. */
CUresult fe_context_get(CUcontext handle, struct fe_context **ctx_p);

/* The calling thread's green context, if it is this one, is no more current: what is below is. */
struct fe_green;
void fe_context_unset_green(struct fe_green *green);

/* The program has so many bytes of a device more than its tenant may; notification.c. */
void fe_notify_over_budget(int device, uint64_t bytes);

/* Callbacks of cudart's tables; init.c. */
void fe_init_cudart(void);

/* Notices; callback.c. */
void fe_init_notices(void);

/* link.c: the slab of links; those of a context that goes. */
void fe_link_define(void);
void fe_links_drop_context(struct fe_context *ctx);

/* Hook for CU_STREAM_PER_THREAD; stream.c. */
CUresult fe_stream_per_thread_wire(struct fe_call *call, uint64_t *id_p);

/* Everything in a context that goes is dropped here; the server drops its own. */
void fe_context_drop_objects(struct fe_context *ctx);
void fe_host_drop_context(const struct fe_context *ctx); /* host_memory.c */

#endif
