/* backend/cuda/peer.h -- access between devices
 *
 * Threads: the executor.
 */
#ifndef BE_PEER_H
#define BE_PEER_H

#include "backend/cuda/state.h"

/* The context ends: what it reached, it does not reach any more. */
void be_peers_forget(struct be_session *session, struct be_context *context);

#endif
