/* backend/cuda/memop.c -- values that streams write and wait for */
#include "backend/cuda/state.h"
#include "be_hooks.h"

#include <string.h>

#define NUMBERS 4u /* operation, address, value, flags */
#define OPS_MAX 256u

static CUresult
op_read(struct be_call *call, const uint64_t *numbers, CUstreamBatchMemOpParams *op)
{
    uint64_t bytes = 4;

    memset(op, 0, sizeof(*op));
    op->operation = (CUstreamBatchMemOpType)numbers[0];
    switch (numbers[0]) {
    case CU_STREAM_MEM_OP_BARRIER:
        op->memoryBarrier.flags = (unsigned)numbers[3];
        return CUDA_SUCCESS;
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        op->flushRemoteWrites.flags = (unsigned)numbers[3];
        return CUDA_SUCCESS;
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        bytes = 8;
        break;
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    /* Waiting and writing have the same shape. */
    op->waitValue.address = numbers[1];
    op->waitValue.value64 = numbers[2];
    op->waitValue.flags = (unsigned)numbers[3];
    return numbers[1] % bytes == 0 ? be_check_device(call->session, numbers[1], bytes)
                                   : CUDA_ERROR_INVALID_VALUE;
}

CUresult
be_hook_cuStreamBatchMemOp_v2(struct be_call *call,
                              const struct wire_cuStreamBatchMemOp_v2_args *args)
{
    CUstreamBatchMemOpParams ops[OPS_MAX];
    uint32_t count = args->ops_len / NUMBERS;
    CUstream stream;
    CUresult cr;

    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (count == 0 || count > OPS_MAX || args->ops_len % NUMBERS != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (uint32_t i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = op_read(call, args->ops + (size_t)i * NUMBERS, &ops[i]);
    if (cr == CUDA_SUCCESS && call->driver->cuStreamBatchMemOp_v2 == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    return cr == CUDA_SUCCESS ? call->driver->cuStreamBatchMemOp_v2(stream, count, ops, 0) : cr;
}
