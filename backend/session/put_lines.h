/* backend/session/put_lines.h -- connections between sessions on different servers
 *
 * A worker may not connect to anywhere (main/sandbox.h), so the supervisor does, to where its
 * operator allows it, and hands the descriptor over. Such a line is opened with a token's secret as
 * the key: no private key is needed, which a worker does not have any more. It stays for further
 * puts between the two sessions. What comes is accepted like every further connection of the
 * session (resume.h), and has a thread of its own.
 *
 * Threads: _create, _destroy: main; _dialled: the watch; the rest any.
 * Lock:    lines.lock (no rank: only puts.lock is taken under it), held over no call that waits.
 */
#ifndef BE_PUT_LINES_H
#define BE_PUT_LINES_H

#include "backend/cuda/put.h"
#include "transport/transport.h"

#include <sys/socket.h>

#define BE_PUT_LINES_MAX 16 /* each way */

struct be_put_lines_config {
    struct be_puts *puts;
    struct be_board_row *row;
    struct tp_opts socket; /* congestion, buffers, keepalive */
    /* Ask for a connection, which be_put_lines_dialled() brings; NULL: to nowhere. */
    void (*dial)(void *user, const struct sockaddr_storage *to, uint64_t number);
    void *user;
};

GP_CHECK enum gp_status be_put_lines_create(const struct be_put_lines_config *config,
                                            struct be_put_lines **lines_p);
/* After be_put_lines_close(). NULL is fine. */
void be_put_lines_destroy(struct be_put_lines *lines);
/* The connection that was asked for, or allowed is false; takes fd. */
void be_put_lines_dialled(struct be_put_lines *lines, uint64_t number, bool allowed, int fd);

/* For tp_tls_opts.psk_find; user is the lines. */
bool be_put_lines_key(void *lines, const char *name, size_t name_bytes, uint8_t key[TP_KEY_BYTES]);
/* A connection that came wants to put: it counts among them from now on; false: it must go. */
bool be_put_lines_enter(struct be_put_lines *lines, struct tp_lane *lane);
/* Then, on a thread of its own: its puts, the first of which has been read, until it ends. Takes
 * lane. */
void be_put_lines_serve(struct be_put_lines *lines, struct tp_lane *lane,
                        const struct wire_put *first);

#endif
