/* protocol/base/pass.h -- a message to another process of ours, with a descriptor
 *
 * Over a SOCK_SEQPACKET pair, messages of one size that both sides know.
 */
#ifndef GP_PASS_H
#define GP_PASS_H

#include "protocol/base/status.h"

#include <stddef.h>

/* fd stays the caller's; -1: none. Does not wait. GP_ERR_IO. */
GP_CHECK enum gp_status gp_pass_send(int socket, const void *message, size_t bytes, int fd);
/*
 * flags as of recvmsg(). *fd_p is the caller's, close-on-exec, or -1 if none came.
 *
 * Errors: GP_ERR_AGAIN; GP_ERR_CLOSED; GP_ERR_PROTOCOL for a message of another size. Not logged.
 */
GP_CHECK enum gp_status gp_pass_receive(int socket, void *message, size_t bytes, int flags,
                                        int *fd_p);

#endif
