/* frontend/cuda/context_event.h -- events of all a context's streams, and waits of all of them
 *
 * The server is told nothing new: two streams of this library's own stand for a context. In the one
 * events are recorded, behind a wait for each stream that has work which is not proven. The other
 * waits for events; the streams of the context wait for it, those that are made later too, and the
 * legacy stream when it is used next (a wait there would hold other streams' work).
 *
 * Threads: any; one lock inside, held over posts.
 */
#ifndef FE_CONTEXT_EVENT_H
#define FE_CONTEXT_EVENT_H

#include "frontend/cuda/objects.h"

struct fe_green;

void fe_gates_reset(struct fe_gates *gates);
/* All work of a green context's streams is done: its CUcontext. */
CUresult fe_green_synchronize(CUcontext green);

/* A new stream of a context that waits. */
CUresult fe_context_gate_new(struct fe_call *call, struct fe_stream *stream);
/* The legacy stream is going to be used. The id of call is not changed. */
CUresult fe_context_gate_legacy(struct fe_call *call);

/* Around the post that ends a stream. */
void fe_context_event_lock(void);
void fe_context_event_unlock(void);

#endif
