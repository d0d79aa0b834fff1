/* frontend/core/trace.h -- GPUPOOL_TRACE=FILE: what happened when, as Perfetto and Chrome read it
 *
 * Calls that travel, waits, sends and arriving data on the client's clock; what the server's
 * executor did, moved from its clock to ours. %p in FILE becomes the process's id. The file is
 * whole JSON after each write; a process that is killed loses what it had gathered, 64 KiB at most,
 * and the list's end if that comes in the middle of a write.
 *
 * Threads: any; one lock inside, a leaf.
 */
#ifndef FE_TRACE_H
#define FE_TRACE_H

#include "protocol/base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fe_session;

/* Set when the session begins, cleared in a forked child; relaxed. */
extern _Atomic bool fe_trace_on;

static inline bool
fe_tracing(void)
{
    return __builtin_expect(atomic_load_explicit(&fe_trace_on, memory_order_relaxed), 0);
}

/* 0 unless there is a trace. */
static inline uint64_t
fe_trace_now(void)
{
    return fe_tracing() ? gp_now_ns() : 0;
}

/* Something of this thread that began at begin_ns, a value of fe_trace_now(), and ends now; name is
 * ours, without quotes. Nothing without a trace. */
void fe_trace_add(const char *name, const char *kind, uint64_t begin_ns, uint64_t bytes);

/* The session has just begun: open the file, have the server note what it does. May wait. */
void fe_trace_begin(void);
/* Before the session ends: have the rest of the server's. May wait. */
void fe_trace_finish(void);
/* What is gathered into the file; nothing is added any more. */
void fe_trace_end(void);
/* In a forked child: the file is the parent's. */
void fe_trace_abandon(void);

/* From a gpNoticeTrace: what the server's executor did. False if it makes no sense. */
bool fe_trace_server(const struct fe_session *s, const uint64_t *begins_ns, const uint64_t *took_ns,
                     const uint32_t *calls, size_t count);

#endif
