/* backend/main/relay.h -- a worker between an operator at the other end of TLS and the supervisor
 *
 * The supervisor has no key and does no handshake, so a worker does, sees whether the certificate
 * is an operator's by the "admin" rules, and carries requests and answers. It has no session and
 * never gets one.
 */
#ifndef BE_RELAY_H
#define BE_RELAY_H

#include "backend/metrics/board.h"
#include "backend/session/session.h"
#include "protocol/base/options.h"

/* GP_ERR_INVALID (logged) for rules that would let everybody in. */
GP_CHECK enum gp_status be_relay_rules_check(const struct gp_options *options);

struct be_relay {
    const struct gp_options *options;
    struct be_board_row *row;     /* says who it is */
    struct be_board_session seen; /* filled where the hello was taken */
    int socket;                   /* the supervisor's */
};

/* be_open_config.operator. Until the operator goes. */
void be_relay_run(struct be_relay *relay, struct tp_lane *lane, struct be_line *line,
                  const struct tp_frame *request);

#endif
