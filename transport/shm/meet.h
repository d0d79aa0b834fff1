/* transport/shm/meet.h -- how the two ends of a lane in shared memory come together
 *
 * Private to transport/shm.
 */
#ifndef TP_MEET_H
#define TP_MEET_H

#include "protocol/base/status.h"
#include "transport/local.h"
#include "transport/transport.h"

/* What an end has of it. */
struct tp_shm_meeting {
    int fd, room_fd;
    uint8_t *memory; /* tp_shm_bytes(ring_bytes) */
    uint64_t ring_bytes;
};

/*
 * The two sides of it; opts->deadline_ns is set.
 *
 * Ownership: fd stays the caller's until GP_OK, then all is to be given to tp_shm_part().
 * Errors:    GP_ERR_TIMEOUT, GP_ERR_IO, GP_ERR_PROTOCOL, GP_ERR_VERSION, GP_ERR_LIMIT,
 *            GP_ERR_NOT_SUPPORTED (no memory that can be sealed).
 */
GP_CHECK enum gp_status tp_shm_receive_client(int fd, const struct tp_opts *opts,
                                              struct tp_shm_meeting *m);
GP_CHECK enum gp_status tp_shm_meet_server(int fd, const struct tp_opts *opts,
                                           struct tp_shm_meeting *m);
void tp_shm_part(struct tp_shm_meeting *m);

#endif
