/* protocol/cudart/proc_address.c -- looks an entry point up by name, version and flags */
#include "protocol/cudart/proc_address.h"

#include "protocol/cudart/proc_table.h"

#include <string.h>

#define PROC_FLAGS                                                                                 \
    (CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)

/* The first row of base, or NULL. */
static const struct gp_proc *
proc_first(const char *base)
{
    size_t lo = 0, hi = gp_proc_count;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (strcmp(gp_proc_table[mid].base, base) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == gp_proc_count || strcmp(gp_proc_table[lo].base, base) != 0)
        return NULL;
    return &gp_proc_table[lo];
}

/* The newest row of first's base that version has; NULL if all are younger. */
static const struct gp_proc *
proc_newest(const struct gp_proc *first, int version)
{
    const struct gp_proc *end = gp_proc_table + gp_proc_count;
    const struct gp_proc *best = NULL;

    for (const struct gp_proc *row = first; row < end && strcmp(row->base, first->base) == 0; row++)
        if (row->since <= version)
            best = row;
    return best;
}

CUresult
gp_cudart_proc_address(const char *symbol, void **fn_p, int version, cuuint64_t flags,
                       CUdriverProcAddressQueryResult *status_p, int driver_version)
{
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    const struct gp_proc *row;

    if (symbol == NULL || fn_p == NULL || (flags & ~(cuuint64_t)PROC_FLAGS) != 0 ||
        flags == PROC_FLAGS || version > driver_version)
        return CUDA_ERROR_INVALID_VALUE;

    *fn_p = NULL;
    row = proc_first(symbol);
    if (row == NULL) {
        status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    } else {
        row = proc_newest(row, version);
        if (row == NULL)
            status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
    }
    if (row != NULL) {
        void (*fn)(void) = row->fn;

        if ((flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0 && row->twin != NULL)
            fn = row->twin;
        memcpy(fn_p, &fn, sizeof(fn)); /* ISO C has no cast from function to object pointer */
    }
    if (status_p != NULL) {
        *status_p = status;
        return CUDA_SUCCESS;
    }
    return status == CU_GET_PROC_ADDRESS_SUCCESS ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
