/* frontend/cuda/order.h -- synchronous copies to the device come before what is called later, in
 * whatever stream
 *
 * Such a copy has captured its bytes when it returns, but they are not in the device's memory yet.
 * For streams that CUDA orders behind the copy's own, nothing needs to be done. The others
 * (non-blocking ones, other threads' per-thread streams) wait on the device for an event behind the
 * copy, before their next work that touches memory. It costs no round trip, and nothing where one
 * stream is used.
 *
 * Threads: any; one lock inside, held over posts.
 */
#ifndef FE_ORDER_H
#define FE_ORDER_H

#include "frontend/cuda/objects.h"

/* A synchronous copy was posted to this stream of call's context. */
CUresult fe_order_copied(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire);
/* Memory or an event of the program is known to another process from now on, which no order of ours
 * reaches: the last synchronous copy in call's context (if it has one) is waited for, and those to
 * come are. The id of call changes. */
CUresult fe_order_share(struct fe_call *call);
/* Wait until the last synchronous copy of the call's context is there. */
CUresult fe_order_settle(struct fe_call *call);
/* The stream ends; what others must wait for in it is recorded before. */
void fe_order_ends(struct fe_stream *stream);

CUresult fe_order_wait(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire);

/* Before posting work that touches memory. The id of call is not changed. */
static inline CUresult
fe_order(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire)
{
    if (__builtin_expect(atomic_load_explicit(&call->context->copied, memory_order_acquire) <=
                             atomic_load_explicit(&stream->passed, memory_order_relaxed),
                         1))
        return CUDA_SUCCESS;
    return fe_order_wait(call, stream, stream_wire);
}

#endif
