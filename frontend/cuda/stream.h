/* frontend/cuda/stream.h -- what other files make of streams and events for themselves
 *
 * Each goes on under the entry of call, in its context, with another id (fe_call_next()); nothing
 * is waited for.
 */
#ifndef FE_STREAM_H
#define FE_STREAM_H

#include "frontend/cuda/objects.h"

/* stream.c. An object that the server does not know yet. */
struct fe_stream *fe_stream_new(struct fe_context *ctx, unsigned flags, int priority);
/* call has the id of the creation already. */
CUresult fe_stream_make(struct fe_call *call, unsigned flags, int priority,
                        struct fe_stream **stream_p);
CUresult fe_stream_post_wait(struct fe_call *call, struct fe_stream *stream, uint64_t stream_wire,
                             uint64_t event_wire);

/* event.c */
CUresult fe_event_make(struct fe_call *call, unsigned flags, struct fe_event **event_p);
CUresult fe_event_post_record(struct fe_call *call, struct fe_event *event,
                              struct fe_stream *stream, uint64_t stream_wire);
/* Whether its last record is known to have happened; nobody is asked. */
bool fe_event_done(const struct fe_event *event);
/* Behind a record: waits until the server has it where other processes may ask for the event. */
CUresult fe_event_shared_there(struct fe_call *call, const struct fe_event *event);

#endif
