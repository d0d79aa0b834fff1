/* protocol/cudart/proc_address.h -- the body of cuGetProcAddress
 *
 * Threads: any.
 */
#ifndef GP_CUDART_PROC_ADDRESS_H
#define GP_CUDART_PROC_ADDRESS_H

#include "protocol/abi/cuda_types.h"

/*
 * The newest ABI of base name symbol that version already had; with flag PER_THREAD_DEFAULT_STREAM
 * the per-thread twin where there is one.
 *
 * Errors: CUDA_ERROR_INVALID_VALUE: NULL symbol or fn_p, unknown flags, a version above
 *         driver_version. A symbol that is unknown or younger than version: *fn_p is NULL, the
 *         reason in *status_p with CUDA_SUCCESS, or CUDA_ERROR_NOT_FOUND where status_p is NULL.
 */
CUresult gp_cudart_proc_address(const char *symbol, void **fn_p, int version, cuuint64_t flags,
                                CUdriverProcAddressQueryResult *status_p, int driver_version);

#endif
