/* backend/cuda/pace.h -- a session's work on the device, in its tenant's turns
 *
 * Before a call that gives the device work, the executor asks for the turn; while it has to wait it
 * reads nothing more of the client's. Work is gathered in batches, one open for each stream, with a
 * timed event before and behind: what a batch took is charged, and where it was one call alone,
 * learned as the estimate for the next of its kind. A thread for each device sees batches end,
 * whichever stream's does; those whose stream waits for something else count for nothing meanwhile.
 *
 * Where nobody else works on the device, none of this happens; but that a session does not queue
 * for ever, there are marks (events) among its calls, about 8 ms of work apart, and it waits where
 * eight lie ahead. When others come, what lies ahead is charged.
 *
 * Threads: _enter, _leave, _flush, _attach, _forget: the executor. Locks: pace.lock (rank 36), then
 *          those of backend/tenant; never held across a driver call that waits.
 */
#ifndef BE_PACE_H
#define BE_PACE_H

#include "backend/cuda/state.h"
#include "backend/cuda/stay.h"
#include "protocol/wire/codec.h"

/* Nothing is made where the session takes no part in turns. */
CUresult be_pace_attach(struct be_session *session, struct be_context *context);
/* All work of the context is done: forget its batches and events. It is current. */
void be_pace_forget(struct be_session *session, struct be_context *context);
/* A stream is about to be destroyed. */
void be_pace_forget_stream(struct be_session *session, CUstream stream);
/* At the session's end, after its contexts. */
void be_pace_destroy(struct be_session *session);

struct be_pace_pass {
    struct be_pace_device *device; /* NULL: nothing is counted */
    struct be_pace_batch *batch;
};

/* Wait until this call's memory is there, and for its turn. */
enum be_stay_verdict be_pace_enter(struct be_call *call, const struct wire_record *record,
                                   const uint8_t *body, size_t len, struct be_pace_pass *pass);
/* The call was handed to the driver. */
void be_pace_leave(struct be_pace_pass *pass);
/* What follows on the stream waits for more than the device: no batch reaches over it. */
void be_pace_cut(struct be_call *call, CUstream stream);
/* Work for the device beside the session's calls, on a stream of ours, is measured: between these
 * it is given to the stream, after the stream got there it is charged. Any thread, with the context
 * current. */
struct be_pace_apart {
    struct be_pace_device *device; /* NULL: nothing is counted */
    CUevent start, end;
};
void be_pace_apart_begin(struct be_session *session, struct be_context *context, CUstream stream,
                         struct be_pace_apart *apart);
void be_pace_apart_end(struct be_pace_apart *apart, CUstream stream);
void be_pace_apart_charge(struct be_pace_apart *apart, struct be_context *context);

/* No more calls are here for now: what is gathered is measured. */
void be_pace_flush(struct be_session *session);

#endif
