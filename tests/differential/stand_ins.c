/* tests/differential/stand_ins.c -- calls with arguments that are no words */
#include "stand_ins.h"

#include "cuda_api.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t word;

static CUresult (*ipc_open_memory)(CUdeviceptr *, CUipcMemHandle, unsigned);
static CUresult (*ipc_open_event)(CUevent *, CUipcEventHandle);
static CUresult (*texref_set_bias)(CUtexref, float);
static CUresult (*texref_set_clamp)(CUtexref, float, float);
static CUresult (*param_set_float)(CUfunction, int, float);

static CUresult
with_memory_handle(word address_p, word handle_p, word flags)
{
    CUipcMemHandle handle = {0};

    if (handle_p != 0)
        memcpy(&handle, (const void *)(uintptr_t)handle_p, sizeof(handle));
    return ipc_open_memory((CUdeviceptr *)(uintptr_t)address_p, handle, (unsigned)flags);
}

static CUresult
with_event_handle(word event_p, word handle_p)
{
    CUipcEventHandle handle = {0};

    if (handle_p != 0)
        memcpy(&handle, (const void *)(uintptr_t)handle_p, sizeof(handle));
    return ipc_open_event((CUevent *)(uintptr_t)event_p, handle);
}

static CUresult
with_bias(word ref, word bias)
{
    return texref_set_bias((CUtexref)(uintptr_t)ref, (float)bias);
}

static CUresult
with_clamp(word ref, word low, word high)
{
    return texref_set_clamp((CUtexref)(uintptr_t)ref, (float)low, (float)high);
}

static CUresult
with_float(word function, word offset, word value)
{
    return param_set_float((CUfunction)(uintptr_t)function, (int)offset, (float)value);
}

static const struct {
    const char *name;
    void *stand_in;
    void *real; /* a pointer to a function */
} stand_ins[] = {
    {"cuIpcOpenMemHandle_v2", with_memory_handle, &ipc_open_memory},
    {"cuIpcOpenEventHandle", with_event_handle, &ipc_open_event},
    {"cuTexRefSetMipmapLevelBias", with_bias, &texref_set_bias},
    {"cuTexRefSetMipmapLevelClamp", with_clamp, &texref_set_clamp},
    {"cuParamSetf", with_float, &param_set_float},
};

void *
stand_in(const char *name, void *real)
{
    for (size_t i = 0; i < sizeof(stand_ins) / sizeof(stand_ins[0]); i++) {
        if (strcmp(stand_ins[i].name, name) != 0)
            continue;
        *(void **)stand_ins[i].real = real;
        return real != NULL ? stand_ins[i].stand_in : NULL;
    }
    return real;
}
