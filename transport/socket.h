/* transport/socket.h -- TCP sockets: names, connecting, listening, options
 *
 * Private to transport/. Every descriptor is non-blocking and close-on-exec.
 */
#ifndef TP_SOCKET_H
#define TP_SOCKET_H

#include "protocol/base/status.h"
#include "protocol/base/url.h"
#include "transport/transport.h"

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Try all addresses of url->host, one more each quarter of a second, until one answers;
 * opts->deadline_ns is set. */
GP_CHECK enum gp_status tp_socket_connect(const struct gp_url *url, bool loopback_only,
                                          const struct tp_opts *opts, int *fd_p);

/* The same with a list of addresses, for tests: who arrives first. GP_ERR_IO: nobody; *error_p (an
 * errno) and *failed_p say of whom. */
GP_CHECK enum gp_status tp_socket_race(const struct addrinfo *list, const struct tp_opts *opts,
                                       int *fd_p, int *error_p, const struct addrinfo **failed_p);

/* Bind and listen; url->port becomes the real one. */
GP_CHECK enum gp_status tp_socket_listen(struct gp_url *url, bool loopback_only,
                                         const struct tp_opts *opts, int *fd_p);

/* Make a connected socket of anybody's ready for a lane; checks both addresses for loopback_only.
 */
GP_CHECK enum gp_status tp_socket_prepare(int fd, bool loopback_only, const struct tp_opts *opts);

/* "127.0.0.1:7470", "[::1]:7470"; "?" where the socket has none. */
void tp_socket_address_text(const struct sockaddr *addr, socklen_t len, char *out,
                            size_t out_bytes);
/* The peer's. */
void tp_socket_peer_text(int fd, char *out, size_t out_bytes);

/* Send what the socket takes without waiting. GP_OK with *put_p > 0, GP_ERR_AGAIN or, logged as of
 * who, GP_ERR_IO. Memory that is none ends the program, as a copy of it would. */
GP_CHECK enum gp_status tp_socket_send(int fd, const struct iovec *iov, int iovcnt, const char *who,
                                       size_t *put_p);

bool tp_socket_is_loopback(const struct sockaddr *addr);

#endif
