/* backend/supervisor/dial.h -- connections to other servers, for workers that may not make any
 *
 * A worker asks (be_word.dial) when its client copies to a session on another server. Where the
 * operator allows it (--peer) a connection is begun, and the worker gets the descriptor at once; it
 * waits for the rest itself.
 *
 * Threads: the supervisor's; nothing here waits. Hostile input: what a worker asks for.
 */
#ifndef BE_DIAL_H
#define BE_DIAL_H

#include "backend/supervisor/handoff.h"
#include "protocol/base/status.h"

#include <stddef.h>

#define BE_PEERS_MAX 64

/* GP_ERR_INVALID for what is neither a network, an address nor *. Not logged. */
GP_CHECK enum gp_status be_dial_check(const char *peer);

/* Serve a worker's wish, over its line; peers is the operator's list. */
void be_dial_serve(const char *const *peers, size_t count, int line, const struct be_word *word);

#endif
