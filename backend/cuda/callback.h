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

/* Let nobody wait for the client any more: in the whole session, or in a context that ends. The
 * executor waits for the work of that context and cannot hear the client meanwhile; the client's
 * functions are called all the same. */
void be_callbacks_close(struct be_session *session);
void be_callbacks_end(struct be_session *session, struct be_context *context);
/* After be_callbacks_end() and all work of the context: the last of them has left it. */
void be_callbacks_drain(struct be_session *session, const struct be_context *context);
/* After the contexts are gone. */
void be_callbacks_destroy(struct be_session *session);
/* True if some stream waits for the client now, or may when it gets there. */
bool be_callbacks_pending(struct be_session *session);

#endif
