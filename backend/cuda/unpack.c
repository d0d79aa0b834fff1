/* backend/cuda/unpack.c -- batches that the device decompresses
 *
 * What comes out of damaged or lying input may be longer than was announced: where it goes then is
 * the device's matter, within this session's own memory.
 */
#include "backend/cuda/state.h"
#include "be_hooks.h"

#include <string.h>

#define NUMBERS        6u /* algorithm, source, its bytes, destination, bytes expected, told where */
#define OPERATIONS_MAX 512u

static CUresult
operation_read(struct be_call *call, const uint64_t *numbers, CUmemDecompressParams *p)
{
    CUresult cr;

    memset(p, 0, sizeof(*p));
    if (numbers[0] > INT32_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    p->algo = (CUmemDecompressAlgorithm)numbers[0];
    p->src = (const void *)(uintptr_t)numbers[1];
    p->srcNumBytes = numbers[2];
    p->dst = (void *)(uintptr_t)numbers[3];
    p->dstNumBytes = numbers[4];
    p->dstActBytes = (cuuint32_t *)(uintptr_t)numbers[5];
    cr = be_check_device(call->session, numbers[1], numbers[2]);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, numbers[3], numbers[4] != 0 ? numbers[4] : 1);
    if (cr == CUDA_SUCCESS)
        cr = be_check_device(call->session, numbers[5], sizeof(*p->dstActBytes));
    return cr;
}

CUresult
be_hook_cuMemBatchDecompressAsync(struct be_call *call,
                                  const struct wire_cuMemBatchDecompressAsync_args *args)
{
    CUmemDecompressParams list[OPERATIONS_MAX];
    uint32_t count = args->operations_len / NUMBERS;
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (count == 0 || count > OPERATIONS_MAX || args->operations_len % NUMBERS != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = operation_read(call, args->operations + (size_t)i * NUMBERS, &list[i]);
    if (cr == CUDA_SUCCESS && call->driver->cuMemBatchDecompressAsync == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    return cr == CUDA_SUCCESS
               ? call->driver->cuMemBatchDecompressAsync(list, count, 0, NULL, stream)
               : cr;
}
