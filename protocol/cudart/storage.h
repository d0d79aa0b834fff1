/* protocol/cudart/storage.h -- values by context and key, for CONTEXT_LOCAL_STORAGE
 *
 * Threads: any; gets take no lock. ctx is a real context here, never NULL for "current".
 * gp_cudart_ctx_gone is declared in export_tables.h.
 */
#ifndef GP_CUDART_STORAGE_H
#define GP_CUDART_STORAGE_H

#include "protocol/cudart/export_tables.h"

/* Replaces an earlier value, whose destructor is not run. Errors: OUT_OF_MEMORY. */
CUresult gp_cudart_node_put(CUcontext ctx, void *key, void *value,
                            void (*dtor)(CUcontext, void *, void *));
/* Errors: CUDA_ERROR_INVALID_HANDLE when there is none. */
CUresult gp_cudart_node_get(void **value_p, CUcontext ctx, void *key);
/* Forgets without running the destructor; no error when there is none. */
CUresult gp_cudart_node_delete(CUcontext ctx, void *key);

#endif
