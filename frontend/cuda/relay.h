/* frontend/cuda/relay.h -- what passes between servers
 *
 * Servers know nothing of each other. A stream that has to wait for another server stops at a gate,
 * which this process opens: for an event, when the other server tells that it has happened; for a
 * copy, when the stream has come to the gate and the bytes are where they belong. They go through
 * this process. No thread waits for an event, and copies wait for nothing but the lines.
 *
 * Threads: any. Locks are leaves.
 */
#ifndef FE_RELAY_H
#define FE_RELAY_H

#include "frontend/cuda/copy.h"
#include "frontend/cuda/objects.h"

/* One end of a copy: device memory of a context, an array, or host memory. */
struct fe_relay_side {
    struct fe_context *ctx; /* NULL: host memory */
    uint64_t ctx_wire;      /* its id then: what was reset is gone */
    uint64_t address;
};

/* A copy of which one side or both are memory of another server than the call's, or host memory
 * that such a server has pages of; in the order of the stream. wait: it is made when this returns,
 * which a copy to host memory always is. */
CUresult fe_relay_copy(struct fe_call *call, uint64_t dst, uint64_t src, size_t bytes,
                       const struct fe_where *where, bool wait);
/* The same, of device memory of these contexts. */
CUresult fe_relay_copy_peer(struct fe_call *call, uint64_t dst, struct fe_context *to, uint64_t src,
                            struct fe_context *from, size_t bytes, const struct fe_where *where,
                            bool wait);

/* The same for boxes and arrays; a box whose sides are as they were described, that is not empty.
 */
bool fe_relay_has_box(const struct fe_call *call, const struct fe_copy *box);
CUresult fe_relay_copy_box(struct fe_call *call, const struct fe_copy *box,
                           const struct fe_where *where, bool wait);

/* The same as a node of a graph: the server has a host function in its place, for which this
 * process makes the copy. */
struct fe_relay_copy {
    struct fe_relay_side dst, src;
    struct fe_copy copy; /* sides settled */
};
/* If one side is memory of another server than the context's; the sides of copy become what they
 * are. */
bool fe_relay_is_between(struct fe_context *ctx, const struct fe_copy *copy);
CUresult fe_relay_describe(struct fe_context *ctx, const struct fe_copy *copy,
                           struct fe_relay_copy *out_p);
/* Before a launch from call's context: what the program did to these sides before is done. */
CUresult fe_relay_settle(const struct fe_call *call, const struct fe_relay_copy *copy);
/* On the thread of host functions of session s, to which an error goes. */
void fe_relay_run(struct fe_session *s, const struct fe_relay_copy *copy);

/* What comes in the stream waits for the event's last record, which is another server's. */
CUresult fe_relay_wait_event(struct fe_call *call, const struct fe_where *where,
                             struct fe_event *event);

/* Something else that is done to memory of another server: the stream is waited for, and until
 * fe_relay_return() the thread's context is the memory's own, for calls in this stream. */
struct fe_away {
    struct fe_context *before;
    CUstream stream;
};
CUresult fe_relay_go(struct fe_call *call, const struct fe_where *where, uint64_t address,
                     struct fe_away *away_p);
CUresult fe_relay_return(const struct fe_away *away, CUresult cr);

/* For notices. */
void fe_relay_gate(struct fe_session *s, uint64_t number, CUresult status);
void fe_relay_lost(struct fe_session *s);

#endif
