/* backend/cuda/ipc.h -- what ends when shared things end
 *
 * Threads: the executor.
 */
#ifndef BE_IPC_H
#define BE_IPC_H

#include "backend/cuda/state.h"

struct be_phys;

/* The client frees the allocation at address. */
void be_ipc_freed(struct be_session *session, uint64_t address);
/* It gives up an object. */
void be_ipc_object_gone(struct be_session *session, const struct be_phys *phys);
/* A context ended, and its allocations with it. */
void be_ipc_context_gone(struct be_session *session);

#endif
