/* backend/cuda/callback.h -- streams that wait for the client
 *
 * A host function of ours in the stream tells the client (gpNoticeHost, gpNoticePull) and waits for
 * its answer. It does not run on the executor, which goes on.
 *
 * Lock: session.callbacks_lock (rank 35).
 */
#ifndef BE_CALLBACK_H
#define BE_CALLBACK_H

#include "backend/cuda/state.h"

/* Let nobody wait for the client any more. */
void be_callbacks_close(struct be_session *session);
/* After the contexts are gone. */
void be_callbacks_destroy(struct be_session *session);
/* True if some stream waits for the client now, or may when it gets there. */
bool be_callbacks_pending(struct be_session *session);

#endif
