/* transport/rdma/port.h -- the devices of this machine, and which of their ports to take
 *
 * Private to transport/rdma.
 */
#ifndef TP_RDMA_PORT_H
#define TP_RDMA_PORT_H

#include "transport/rdma/rdma.h"
#include "transport/rdma/verbs.h"

/* A port to take for a lane whose peer is reached by the socket fd: the one with that line's own
 * address if there is one, of this layer unless 0, and allowed unless anything is. NULL: none. */
const struct tp_rdma_port *tp_rdma_pick(const struct tp_rdma_port *ports, size_t count, int fd,
                                        uint8_t layer, const struct tp_rdma_opts *allowed);
/* The device with this name, open; NULL if it is gone. */
struct ibv_context *tp_rdma_open(const struct tp_verbs *verbs, const char *device);

#endif
