/* backend/cuda/coredump.c -- settings of core dumps: nothing that writes a file here or ends us */
#include "backend/cuda/state.h"
#include "be_hooks.h"
#include "protocol/base/log.h"

#include <string.h>

#define VALUE_MAX 4096u

typedef CUresult (*get_fn)(CUcoredumpSettings attribute, void *value, size_t *size);
typedef CUresult (*set_fn)(CUcoredumpSettings attribute, void *value, size_t *size);

static CUresult
get(struct be_call *call, get_fn fn, uint32_t attribute, uint32_t size, bool wants_value,
    uint64_t *size_p, const uint8_t **value_p, uint32_t *value_len_p)
{
    uint8_t *value = gp_buf_reserve(be_scratch(call->session), VALUE_MAX);
    size_t bytes = size;
    CUresult cr;

    if (fn == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (size > VALUE_MAX || value == NULL)
        return value == NULL ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    memset(value, 0, VALUE_MAX);
    cr = fn((CUcoredumpSettings)attribute, wants_value ? value : NULL, &bytes);
    if (cr != CUDA_SUCCESS)
        return cr;
    *size_p = bytes;
    *value_p = value;
    *value_len_p = !wants_value ? 0 : bytes < size ? (uint32_t)bytes : size;
    return CUDA_SUCCESS;
}

static bool
all_zero(const uint8_t *value, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        if (value[i] != 0)
            return false;
    return true;
}

/* Switching off, and what a dump would contain; nothing else. */
static bool
harmless(uint32_t attribute, const uint8_t *value, uint32_t len)
{
    switch (attribute) {
    case CU_COREDUMP_ENABLE_ON_EXCEPTION:
    case CU_COREDUMP_ENABLE_USER_TRIGGER:
    case CU_COREDUMP_TRIGGER_HOST:
        return all_zero(value, len);
    case CU_COREDUMP_LIGHTWEIGHT:
        return true;
    default:
        return false;
    }
}

static CUresult
set(set_fn fn, uint32_t attribute, const uint8_t *value, uint32_t len)
{
    uint8_t copy[VALUE_MAX];
    size_t bytes = len;

    if (fn == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!harmless(attribute, value, len)) {
        log_warn("context: core dumps of the device are not carried");
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    memset(copy, 0, sizeof(copy));
    memcpy(copy, value, len);
    return fn((CUcoredumpSettings)attribute, copy, &bytes);
}

CUresult
be_hook_cuCoredumpGetAttribute(struct be_call *call,
                               const struct wire_cuCoredumpGetAttribute_args *args,
                               struct wire_cuCoredumpGetAttribute_reply *reply)
{
    return get(call, call->driver->cuCoredumpGetAttribute, args->attribute, args->size,
               args->wants_value != 0, &reply->size, &reply->value, &reply->value_len);
}

CUresult
be_hook_cuCoredumpGetAttributeGlobal(struct be_call *call,
                                     const struct wire_cuCoredumpGetAttributeGlobal_args *args,
                                     struct wire_cuCoredumpGetAttributeGlobal_reply *reply)
{
    return get(call, call->driver->cuCoredumpGetAttributeGlobal, args->attribute, args->size,
               args->wants_value != 0, &reply->size, &reply->value, &reply->value_len);
}

CUresult
be_hook_cuCoredumpSetAttribute(struct be_call *call,
                               const struct wire_cuCoredumpSetAttribute_args *args,
                               struct wire_cuCoredumpSetAttribute_reply *reply)
{
    (void)reply;
    return set(call->driver->cuCoredumpSetAttribute, args->attribute, args->value, args->value_len);
}

CUresult
be_hook_cuCoredumpSetAttributeGlobal(struct be_call *call,
                                     const struct wire_cuCoredumpSetAttributeGlobal_args *args,
                                     struct wire_cuCoredumpSetAttributeGlobal_reply *reply)
{
    (void)reply;
    return set(call->driver->cuCoredumpSetAttributeGlobal, args->attribute, args->value,
               args->value_len);
}
