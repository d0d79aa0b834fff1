/* backend/cuda/trace.c */
#include "backend/cuda/trace.h"

#include "backend/cuda/state.h"
#include "be_hooks.h"

#include <stdlib.h>

static void
tell(struct be_session *session)
{
    struct be_trace *trace = session->trace;
    struct wire_gpNoticeTrace_args args = {
        .begins_ns = trace->begins_ns,
        .begins_ns_len = trace->count,
        .took_ns = trace->took_ns,
        .took_ns_len = trace->count,
        .calls = trace->calls,
        .calls_len = trace->count,
    };

    if (trace->count == 0)
        return;
    trace->count = 0;
    BE_NOTICE(session, gpNoticeTrace, 0, &args);
}

void
be_trace_add(struct be_session *session, uint32_t call, uint64_t begin_ns)
{
    struct be_trace *trace = session->trace;

    trace->begins_ns[trace->count] = begin_ns;
    trace->took_ns[trace->count] = gp_now_ns() - begin_ns;
    trace->calls[trace->count++] = call;
    if (trace->count == BE_TRACE_MAX)
        tell(session);
}

CUresult
be_hook_gpTrace(struct be_call *call, const struct wire_gpTrace_args *args,
                struct wire_gpTrace_reply *reply)
{
    struct be_session *session = call->session;

    if (args->on != 0 && session->trace == NULL) {
        session->trace = calloc(1, sizeof(*session->trace));
        if (session->trace == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
    } else if (args->on == 0 && session->trace != NULL) {
        tell(session);
        free(session->trace);
        session->trace = NULL;
    }
    reply->now_ns = gp_now_ns();
    return CUDA_SUCCESS;
}
