/* protocol/cudart/errors.h -- names and texts of CUDA's result codes
 *
 * Threads: any. The strings live for ever.
 */
#ifndef GP_CUDART_ERRORS_H
#define GP_CUDART_ERRORS_H

#include "protocol/abi/cuda_types.h"

/* "CUDA_ERROR_INVALID_VALUE"; NULL for a number that is no result code. */
const char *gp_cuda_error_name(CUresult cr);
/* "invalid argument"; NULL for a number that is no result code. */
const char *gp_cuda_error_text(CUresult cr);

/*
 * The bodies of cuGetErrorName and cuGetErrorString.
 * Errors: CUDA_ERROR_INVALID_VALUE for an unknown code (and *text_p is NULL) or text_p NULL.
 */
CUresult gp_cuda_get_error_name(CUresult cr, const char **text_p);
CUresult gp_cuda_get_error_string(CUresult cr, const char **text_p);

#endif
