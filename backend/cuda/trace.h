/* backend/cuda/trace.h -- what the executor did and when, for a client that asked
 *
 * Threads: the executor.
 */
#ifndef BE_TRACE_H
#define BE_TRACE_H

#include "protocol/base/clock.h"

#include <stdint.h>

#define BE_TRACE_MAX 256

struct be_session;

struct be_trace {
    uint32_t count;
    uint64_t begins_ns[BE_TRACE_MAX], took_ns[BE_TRACE_MAX];
    uint32_t calls[BE_TRACE_MAX];
};

/* A call ran from begin_ns until now; session->trace is not NULL. Tells what is full. */
void be_trace_add(struct be_session *session, uint32_t call, uint64_t begin_ns);

#endif
