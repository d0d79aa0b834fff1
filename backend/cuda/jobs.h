/* backend/cuda/jobs.h -- what the client waits for: data from the device, and proofs of completion
 *
 * A job is a device-to-host copy. Its pieces lie in pinned memory before they are sent. Who proves
 * completion to the client (a synchronisation, a successful query, a callback) first sends the
 * data of every earlier job whose event has happened, exactly once each, then what the device
 * printed, then the answer. So does who sends data: two copies may have one destination.
 * What does not fit is copied in the background (big.c), while a gate holds its stream.
 *
 * Threads: jobs are made by the executor, sent by any. Lock: session.jobs_lock (rank 30).
 */
#ifndef BE_JOBS_H
#define BE_JOBS_H

#include "backend/cuda/cut.h"
#include "backend/cuda/state.h"

/* Any thread. Send what is proven for jobs with a number below before, and device output. */
void be_prove(struct be_session *session, uint64_t before);

/* Any thread. Only the data. */
void be_copies_send(struct be_session *session, uint64_t before);

/* Answer call when event has happened; the event is the context's. BE_PARKED or an error. */
CUresult be_park_event(struct be_call *call, CUevent event, const void *lane);
/* Answer call when user_event (the client's, not ours to keep) has happened; one that owes no reply
 * tells the gate (relay.h). */
CUresult be_park_user_event(struct be_call *call, struct be_handle_slot *slot, uint64_t gate);
/* Answer call when all work of its context is done. */
CUresult be_park_context(struct be_call *call);
/* The client's event is recorded again or destroyed: who waits keeps the old one. */
CUresult be_user_event_renew(struct be_call *call, struct be_handle_slot *slot);
CUresult be_user_event_destroy(struct be_session *session, struct be_handle_slot *slot);

/* Waits on one stream share a lane; the legacy stream has one in each context. */
static inline const void *
be_lane_key(const struct be_context *context, CUstream stream)
{
    return stream == CU_STREAM_LEGACY || stream == NULL ? (const void *)context
                                                        : (const void *)stream;
}

/* A wait for what the stream has to do now, in its lane; the event is the wait's. */
static inline CUresult
be_wait_mark(struct be_wait *wait, struct be_context *context, CUstream stream,
             void (*run)(struct be_wait *wait, CUresult cr))
{
    CUresult cr = be_context_mark(context, stream, &wait->event);

    wait->kind = BE_WAIT_EVENT;
    wait->context = context;
    wait->lane = be_lane_key(context, stream);
    wait->run = run;
    wait->done = wait->event;
    return cr;
}

/* After the waiters and the contexts are gone. */
void be_events_destroy(struct be_session *session);

/* Copy to the client in stream order; with a reply owed, answer when all is sent. */
CUresult be_copy_out(struct be_call *call, const struct be_region *region, uint32_t data,
                     CUstream stream);

/* The same for what does not fit into pinned memory, in the background. */
CUresult be_big_start(struct be_call *call, const struct be_region *from, uint32_t data,
                      CUstream stream);

/* Whether that sends what lies there. Executor. */
bool be_big_near(struct be_session *session, const struct be_region *from);
/* Whether the line's device reads it there. Executor. */
bool be_big_direct(struct be_session *session, const struct be_region *from);
/* Whether that copies from there straight to where the client reads. */
bool be_big_fills(const struct be_session *session, const struct be_region *from);

/* Tell who waits for the data that it does not come. */
void be_copy_refuse(struct be_call *call, uint32_t data, CUresult cr);

/* Read what the device printed and send it. */
void be_print_drain(struct be_session *session);

/* The stream is destroyed: what it has under way stays, but another one may get its handle. */
void be_jobs_forget_stream(struct be_session *session, CUstream stream);

void be_jobs_init(struct be_session *session);
/* All waiters are gone. */
void be_jobs_destroy(struct be_session *session);

#endif
