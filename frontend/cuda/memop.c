/* frontend/cuda/memop.c -- values that streams write and wait for
 *
 * The wait is the device's. What the program writes to host memory that a stream waits for, or a
 * kernel looks at, is sent while work is under way (fe_coherent_pump).
 */
#include "cuda_api.h"
#include "frontend/cuda/capture.h"
#include "frontend/cuda/coherent.h"
#include "frontend/cuda/copy.h"
#include "frontend/cuda/displaced.h"
#include "frontend/cuda/host.h"
#include "frontend/cuda/order.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <string.h>

#define OPS_MAX 256u
#define NUMBERS 4u /* operation, address, value, flags */

/* One operation as it travels; where it writes or looks. */
static CUresult
read_op(const struct fe_call *call, const CUstreamBatchMemOpParams *op, uint64_t *numbers,
        struct fe_span *span)
{
    const unsigned wait_flags = CU_STREAM_WAIT_VALUE_NOR | CU_STREAM_WAIT_VALUE_FLUSH;
    bool writes = false;
    uint64_t bytes = 4;

    *span = (struct fe_span){0};
    memset(numbers, 0, NUMBERS * sizeof(*numbers));
    numbers[0] = (uint64_t)op->operation;
    switch (op->operation) {
    case CU_STREAM_MEM_OP_BARRIER:
        numbers[3] = op->memoryBarrier.flags;
        return CUDA_SUCCESS;
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        numbers[3] = op->flushRemoteWrites.flags;
        return CUDA_SUCCESS;
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        writes = true;
        bytes = 8;
        break;
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        writes = true;
        break;
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        bytes = 8;
        break;
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    /* Waiting and writing have the same shape. */
    numbers[1] = fe_device_named(op->waitValue.address);
    numbers[2] = bytes == 8 ? op->waitValue.value64 : op->waitValue.value;
    numbers[3] = op->waitValue.flags;
    if ((numbers[3] & ~(writes ? (uint64_t)CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER : wait_flags)) !=
        0)
        return CUDA_ERROR_INVALID_VALUE;
    *span = (struct fe_span){numbers[1], bytes, writes};
    if (writes && bytes == 8)
        fe_host_look(numbers[1], &numbers[2], sizeof(numbers[2]));
    if (numbers[1] % bytes != 0)
        return CUDA_ERROR_INVALID_VALUE;
    return writes ? fe_check_target(call, numbers[1], bytes)
                  : fe_check_device(call, numbers[1], bytes);
}

CUresult
fe_check_value(const struct fe_call *call, const CUstreamBatchMemOpParams *op)
{
    uint64_t numbers[NUMBERS];
    struct fe_span span;

    return read_op(call, op, numbers, &span);
}

static CUresult
post(struct fe_call *call, const struct fe_where *where, uint64_t *ops, unsigned count)
{
    struct wire_cuStreamBatchMemOp_v2_args args = {
        .stream = where->wire, .ops = ops, .ops_len = count * NUMBERS};
    void *to;

    for (unsigned i = 0; i < count; i++)
        if (ops[i * NUMBERS + 1] != 0)
            ops[i * NUMBERS + 1] = fe_host_device(ops[i * NUMBERS + 1]);
    to = fe_post(call, wire_size_cuStreamBatchMemOp_v2_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuStreamBatchMemOp_v2_args(to, &args);
    (void)fe_stream_mark(call, where->stream);
    fe_post_done(call);
    return CUDA_SUCCESS;
}

/* The server looks the addresses up when the graph is instantiated: host memory is there by then.
 */
static CUresult
capture(struct fe_call *call, struct fe_stream *stream, CUstreamBatchMemOpParams *list,
        unsigned count)
{
    const CUDA_BATCH_MEM_OP_NODE_PARAMS values = {.count = count, .paramArray = list};
    CUresult cr = fe_host_show_wanted();

    return cr == CUDA_SUCCESS ? fe_capture_values(call, stream, &values) : cr;
}

GP_EXPORT CUresult
cuStreamBatchMemOp_v2(CUstream stream, unsigned int count, CUstreamBatchMemOpParams *list,
                      unsigned int flags)
{
    struct fe_span spans[OPS_MAX];
    uint64_t ops[OPS_MAX * NUMBERS];
    struct fe_where where;
    struct fe_call call;
    bool active;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuStreamBatchMemOp_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_stream_resolve_capture(&call, stream, &where.stream, &where.wire);
    if (cr == CUDA_SUCCESS && (list == NULL || count == 0 || count > OPS_MAX || flags != 0))
        cr = CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count && cr == CUDA_SUCCESS; i++)
        cr = read_op(&call, &list[i], &ops[(size_t)i * NUMBERS], &spans[i]);
    if (cr == CUDA_SUCCESS && fe_capturing(where.stream))
        return fe_leave(&call, capture(&call, where.stream, list, count));
    if (cr == CUDA_SUCCESS)
        cr = fe_order(&call, where.stream, where.wire);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    active = fe_coherent_active();
    if (active)
        cr = fe_coherent_begin(&where, spans, count);
    if (cr == CUDA_SUCCESS) {
        cr = post(&call, &where, ops, count);
        if (active)
            fe_coherent_end(&call, &where);
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuStreamBatchMemOp(CUstream stream, unsigned int count, CUstreamBatchMemOpParams *list,
                   unsigned int flags)
{
    return cuStreamBatchMemOp_v2(stream, count, list, flags);
}

static CUresult
one(CUstream stream, CUstreamBatchMemOpType operation, CUdeviceptr address, uint64_t value,
    unsigned flags)
{
    CUstreamBatchMemOpParams op;

    memset(&op, 0, sizeof(op));
    op.waitValue.operation = operation;
    op.waitValue.address = address;
    op.waitValue.value64 = value;
    op.waitValue.flags = flags;
    return cuStreamBatchMemOp_v2(stream, 1, &op, 0);
}

#define ONE(name, type, operation)                                                                 \
    GP_EXPORT CUresult name##_v2(CUstream stream, CUdeviceptr address, type value,                 \
                                 unsigned int flags)                                               \
    {                                                                                              \
        return one(stream, operation, address, value, flags);                                      \
    }                                                                                              \
                                                                                                   \
    GP_EXPORT CUresult name(CUstream stream, CUdeviceptr address, type value, unsigned int flags)  \
    {                                                                                              \
        return one(stream, operation, address, value, flags);                                      \
    }

ONE(cuStreamWaitValue32, cuuint32_t, CU_STREAM_MEM_OP_WAIT_VALUE_32)
ONE(cuStreamWaitValue64, cuuint64_t, CU_STREAM_MEM_OP_WAIT_VALUE_64)
ONE(cuStreamWriteValue32, cuuint32_t, CU_STREAM_MEM_OP_WRITE_VALUE_32)
ONE(cuStreamWriteValue64, cuuint64_t, CU_STREAM_MEM_OP_WRITE_VALUE_64)
