/* frontend/cuda/function.h -- attributes of functions and kernels, kept until something sets them
 */
#ifndef FE_FUNCTION_H
#define FE_FUNCTION_H

#include "frontend/cuda/kernels.h"

/* CUDA_ERROR_INVALID_VALUE past the last parameter. size may be NULL. */
CUresult fe_function_param(struct fe_function *f, size_t index, size_t *offset, size_t *size);

/* Of a library's kernel on a device of the program; all enter and leave by themselves. */
CUresult fe_kernel_attribute(struct fe_function *kernel, CUfunction_attribute attribute,
                             CUdevice dev, int *value);
CUresult fe_kernel_set_attribute(struct fe_function *kernel, CUfunction_attribute attribute,
                                 int value, CUdevice dev);
CUresult fe_kernel_set_cache(struct fe_function *kernel, CUfunc_cache config, CUdevice dev);

/* Enter a call about a function: the current context, the handle, the function's own context. */
CUresult fe_function_enter(struct fe_call *call, enum wire_call id, CUfunction handle,
                           struct fe_function **f_p);

#endif
