/* backend/cuda/relay.h -- streams that wait for what the client knows of another server
 *
 * The client closes a gate (memory/gate.h) on a stream, and opens it when something has happened
 * elsewhere: an event of another server, or a copy that it has made meanwhile. No thread waits, and
 * no stream but this one.
 *
 * Threads: the executor; notices leave by waiters. Lock: session.callbacks_lock (rank 35).
 */
#ifndef BE_RELAY_H
#define BE_RELAY_H

#include "backend/cuda/state.h"

/* A context ends (NULL: all of them), and its work is to be waited for: its gates are opened. */
void be_relays_end(struct be_session *session, const struct be_context *context);

/* Any thread. */
void be_relay_tell(struct be_session *session, uint64_t gate, CUresult cr);

#endif
