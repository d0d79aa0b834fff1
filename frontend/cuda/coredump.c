/* frontend/cuda/coredump.c -- settings of core dumps, asked and set in the server's driver
 *
 * Nothing that would write a file or end a process on the server can be set.
 */
#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "protocol/base/util.h"

#include <string.h>

#define VALUE_MAX 4096u

GP_EXPORT CUresult
cuCoredumpGetAttribute(CUcoredumpSettings attribute, void *value, size_t *size)
{
    struct wire_cuCoredumpGetAttribute_args args = {.attribute = (uint32_t)attribute};
    struct wire_cuCoredumpGetAttribute_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuCoredumpGetAttribute);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (size == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.size = value != NULL ? (uint32_t)gp_min_u64(*size, VALUE_MAX) : 0;
    args.wants_value = value != NULL;
    FE_ASK(cr, &call, cuCoredumpGetAttribute, &args, &reply);
    if (cr == CUDA_SUCCESS && value != NULL)
        memcpy(value, reply.value, gp_min_u64(reply.value_len, *size));
    if (cr == CUDA_SUCCESS)
        *size = reply.size;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuCoredumpGetAttributeGlobal(CUcoredumpSettings attribute, void *value, size_t *size)
{
    struct wire_cuCoredumpGetAttributeGlobal_args args = {.attribute = (uint32_t)attribute};
    struct wire_cuCoredumpGetAttributeGlobal_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuCoredumpGetAttributeGlobal);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (size == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.size = value != NULL ? (uint32_t)gp_min_u64(*size, VALUE_MAX) : 0;
    args.wants_value = value != NULL;
    FE_ASK(cr, &call, cuCoredumpGetAttributeGlobal, &args, &reply);
    if (cr == CUDA_SUCCESS && value != NULL)
        memcpy(value, reply.value, gp_min_u64(reply.value_len, *size));
    if (cr == CUDA_SUCCESS)
        *size = reply.size;
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuCoredumpSetAttribute(CUcoredumpSettings attribute, void *value, size_t *size)
{
    struct wire_cuCoredumpSetAttribute_args args = {.attribute = (uint32_t)attribute};
    struct wire_cuCoredumpSetAttribute_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuCoredumpSetAttribute);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL || size == NULL || *size > VALUE_MAX)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.value = value;
    args.value_len = (uint32_t)*size;
    FE_ASK(cr, &call, cuCoredumpSetAttribute, &args, &reply);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuCoredumpSetAttributeGlobal(CUcoredumpSettings attribute, void *value, size_t *size)
{
    struct wire_cuCoredumpSetAttributeGlobal_args args = {.attribute = (uint32_t)attribute};
    struct wire_cuCoredumpSetAttributeGlobal_reply reply;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuCoredumpSetAttributeGlobal);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (value == NULL || size == NULL || *size > VALUE_MAX)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.value = value;
    args.value_len = (uint32_t)*size;
    FE_ASK(cr, &call, cuCoredumpSetAttributeGlobal, &args, &reply);
    return fe_leave(&call, cr);
}
