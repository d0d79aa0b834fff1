/* frontend/cuda/ipc.h -- descriptors with tickets, and allocations of pools that travel as IPC
 * handles do
 *
 * number: of the pool; what one pool offers is opened through that pool only.
 */
#ifndef FE_IPC_H
#define FE_IPC_H

#include "frontend/cuda/memory.h"

/* A pair of sockets: in fds[1], for the program, waits the ticket, also when fds[0], ours, is
 * closed. */
CUresult fe_ticket_put(const void *ticket, size_t bytes, int fds[2]);
/* What waits in a descriptor of the program stays there. False: nothing so long. */
bool fe_ticket_peek(int fd, void *ticket, size_t bytes);

/* call has the id of cuIpcGetMemHandle. data gets 64 bytes. */
CUresult fe_ipc_offer(struct fe_call *call, const struct fe_block *b, uint64_t number, void *data);
/* call has the id of cuIpcOpenMemHandle_v2. Errors: CUDA_ERROR_INVALID_VALUE. */
CUresult fe_ipc_open(struct fe_call *call, const void *data, uint64_t number, uint64_t *base_p);
/* cuMemFree of such an address; INVALID_VALUE if it is none. call has the id of cuMemFree_v2. */
CUresult fe_ipc_free(struct fe_call *call, uint64_t address);

#endif
