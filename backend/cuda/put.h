/* backend/cuda/put.h -- bytes that come from, and go to, a session on another server
 *
 * The client asks the destination's session for a token (gpPutToken), and hands it to the source's
 * (gpPutSend), which connects and sends (protocol/wire/put.h). A token is random, names one range
 * of memory and one stream, is good for one put that begins before its time is over, and goes with
 * its context or by gpPutDrop. Bytes of a put lie in blocks of its line's thread until the executor
 * copies them to the device, in the session's turn like a client's: so what the client says in its
 * sequence, a drop above all, is before or behind each block and never beside it.
 *
 * Threads: hooks, _run, _create, _open, _end, _destroy: the executor; the rest any.
 * Lock:    puts.lock (rank 36), not held over a call that waits.
 * Hostile input: tokens come from clients, what asks for them and brings bytes from anywhere.
 */
#ifndef BE_PUT_H
#define BE_PUT_H

#include "backend/cuda/state.h"
#include "protocol/wire/put.h"

#define BE_PUT_TOKENS_MAX 256
#define BE_PUT_DEPTH      4 /* blocks of one put that wait for the executor */
#define BE_PUT_SENDING    8 /* puts that leave at once */

struct be_puts;
struct be_put;
struct be_put_lines; /* backend/session: connections to and from other servers */
struct tp_lane;

GP_CHECK enum gp_status be_puts_create(struct be_session *session, struct be_puts **puts_p);
/* Nothing of it is in use any more; NULL is fine. */
void be_puts_destroy(struct be_puts *puts);
/* Other servers' connections can reach the session under this number. */
void be_puts_open(struct be_puts *puts, uint64_t session_id, struct be_put_lines *lines);
/* A context ends (NULL: all of them): its tokens and puts do, both ways. */
void be_puts_end(struct be_session *session, const struct be_context *context);

/* The executor: copy one block that is there; false if there is none. */
bool be_puts_run(struct be_session *session);

/* -- a line's thread, for a put that comes ------------------------------------------------------
 */

/* The secret of a token that is good now, for the handshake. */
bool be_puts_secret(struct be_puts *puts, uint64_t id, uint8_t secret[WIRE_PUT_SECRET_BYTES]);
/* Take up what is asked for: the token is spent. NOT_PERMITTED for any that is not good;
 * INVALID_VALUE for another number of bytes. */
CUresult be_put_begin(struct be_puts *puts, const struct wire_put *ask, struct be_put **put_p);
/* Room for the next block, WIRE_PUT_BLOCK bytes; may wait for the executor. NULL: it is over, and
 * be_put_end() says why. */
uint8_t *be_put_room(struct be_put *put);
/* The room has so many bytes now. */
void be_put_block(struct be_put *put, uint32_t bytes);
/* Whole, when all lies on the device; else as far as it has come. Frees put. */
CUresult be_put_end(struct be_put *put, bool whole);

/* -- a waiter, for a put that goes: implemented in backend/session ------------------------------
 */

struct be_put_way;

/* A line for this put, on which it is announced; NULL, and why (320 bytes) in words. */
struct be_put_way *be_put_way_open(struct be_put_lines *lines, const char *url, uint64_t session,
                                   const struct wire_put *put, char why[320]);
/* False: the line is broken, or the other side does not want more. */
bool be_put_way_send(struct be_put_way *way, const void *bytes, uint32_t count);
/* The other side's word, or an error if whole is false or there is none. Ends the use of the line.
 */
CUresult be_put_way_close(struct be_put_way *way, bool whole, char why[320]);
/* Whoever is busy on a line that goes comes to an end. */
void be_put_lines_break(struct be_put_lines *lines);
/* So does everybody else, and nobody comes any more; waits until those that came are gone. */
void be_put_lines_close(struct be_put_lines *lines);

#endif
