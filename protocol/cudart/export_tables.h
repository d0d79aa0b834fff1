/* protocol/cudart/export_tables.h -- the private tables that NVIDIA's CUDA runtime and libraries
 * ask of a libcuda by cuGetExportTable
 *
 * Provenance: every identifier, slot and signature was found by logging the calls of NVIDIA's
 * runtime and libraries into a stand-in driver and varying its answers, or is documented by the
 * public projects ZLUDA and lupine. Nothing comes from disassembly; nothing was copied.
 *
 * Both libraries of the project that play libcuda (the pool's client library, the software
 * device) use these tables; each gives the few answers that differ by struct gp_cudart_ops.
 * The tables are static objects: their addresses enter the runtime's validity check, so one
 * process image holds one copy, and the check must be answered in the client process.
 *
 * Threads: gp_cudart_init once before the others; the others from any thread.
 */
#ifndef GP_CUDART_EXPORT_TABLES_H
#define GP_CUDART_EXPORT_TABLES_H

#include "protocol/abi/cuda_types.h"

#include <stdbool.h>

/* What the validity check takes in of each device; must be what cuDeviceGetUuid and
 * cuDeviceGetAttribute answer, and constant for the life of the process. */
struct gp_cudart_device {
    CUuuid uuid;
    int32_t pci_domain; /* attribute 50 */
    int32_t pci_bus;    /* attribute 33 */
    int32_t pci_device; /* attribute 34 */
};

/* All from any thread. None may be NULL but module_load. */
struct gp_cudart_ops {
    int (*driver_version)(void);
    int (*device_count)(void);
    CUresult (*device)(int ordinal, struct gp_cudart_device *device_p);
    /* The handle that cuDevicePrimaryCtxRetain will return, without retaining it. */
    CUresult (*primary_ctx)(CUdevice dev, CUcontext *ctx_p);
    /* cuCtxGetCurrent; NULL when there is none. */
    CUcontext (*current_ctx)(void);
    /* cuCtxGetId: unique over the life of the process. */
    CUresult (*ctx_id)(CUcontext ctx, unsigned long long *id_p);
    CUresult (*ctx_device)(CUcontext ctx, CUdevice *dev_p);
    /* An opaque token that is not NULL for a stream (per_thread: for handle 2), and its id,
     * distinct for each live stream. */
    CUresult (*stream_token)(CUcontext ctx, CUstream stream, bool per_thread, void **token_p);
    CUresult (*stream_id)(CUcontext ctx, void *token, unsigned long long *id_p);
    CUresult (*module_function_count)(unsigned int *count_p, CUmodule mod);
    CUresult (*module_functions)(CUfunction *functions, unsigned int count, CUmodule mod);
    /* cuModuleLoadData of a fatbin wrapper or header; for runtimes before 12. */
    CUresult (*module_load)(CUmodule *mod_p, const void *image);
};

/* ops is borrowed for ever. May be called again with the same ops. */
void gp_cudart_init(const struct gp_cudart_ops *ops);

/*
 * The body of cuGetExportTable. The table is static.
 * Errors: CUDA_ERROR_INVALID_VALUE and *table_p = NULL for a table that is not known.
 */
CUresult gp_cudart_export_table(const void **table_p, const CUuuid *id);

/*
 * Context ctx is being destroyed or reset: runs the destructors of what runtimes stored with
 * it and drops the entries. No lock of the caller that an API call may need can be held.
 */
void gp_cudart_ctx_gone(CUcontext ctx);

/* The runtime's stored values; for tests. Errors as the table's slots have them: 400 for a
 * missing key, 201 when ctx is NULL and no context is current. */
CUresult gp_cudart_storage_put(CUcontext ctx, void *key, void *value,
                               void (*dtor)(CUcontext, void *, void *));
CUresult gp_cudart_storage_get(void **value_p, CUcontext ctx, void *key);
CUresult gp_cudart_storage_delete(CUcontext ctx, void *key);

/* The answer of the validity check; exposed for tests. now is what the runtime passed. */
CUresult gp_cudart_validity(uint32_t version, uint64_t now, uint64_t out[2]);

#endif
