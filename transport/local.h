/* transport/local.h -- unix sockets: paths, names, and who is at the other end
 *
 * Private to transport/. A path that begins with @ is a name without a file, known within one
 * network namespace. Every descriptor is non-blocking and close-on-exec.
 */
#ifndef TP_LOCAL_H
#define TP_LOCAL_H

#include "protocol/base/status.h"
#include "protocol/base/url.h"
#include "transport/transport.h"

GP_CHECK enum gp_status tp_local_connect(const struct gp_url *url, const struct tp_opts *opts,
                                         int *fd_p);

/* Bind and listen. A file that a listener left behind is replaced, one that somebody answers at is
 * not. Everybody on the machine may connect who can reach the path: who may do what is decided by
 * the credentials that the kernel vouches for. */
GP_CHECK enum gp_status tp_local_listen(const struct gp_url *url, const struct tp_opts *opts,
                                        int *fd_p);
/* When a listener has ended: the file goes, unless somebody else listens at it (another process
 * that got the socket). */
void tp_local_forget(const struct gp_url *url);

/* The peer's address as text and its credentials at the time of connect(2). */
void tp_local_peer(int fd, struct tp_peer *peer);

#endif
