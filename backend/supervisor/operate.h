/* backend/supervisor/operate.h -- what operators see and do: list, drain, kick, quota
 *
 * Threads: the supervisor's. What is shown is the supervisor's own list of workers, the ledger, and
 * what workers wrote on the board, of which nothing is believed but as a text to show.
 */
#ifndef BE_OPERATE_H
#define BE_OPERATE_H

#include "backend/supervisor/workers.h"
#include "backend/tenant/policy.h"
#include "protocol/wire/admin.h"

struct be_supervisor;

/* The board, the socket of this machine's operators; s->workers.ledger is there. */
GP_CHECK enum gp_status be_operate_open(struct be_supervisor *s);
void be_operate_close(struct be_supervisor *s);
/* A worker has an operator at its other end: give it a line to us. */
void be_operate_connect(struct be_supervisor *s, struct be_worker *worker);
/* The configuration was read anew. */
void be_operate_policies(struct be_supervisor *s, const struct be_policies *policies);
/* The server listens no more: remote operators go. */
void be_operate_leave(struct be_supervisor *s);
/* A successor serves operators, readers of metrics and the directory from now on. */
void be_operate_hand_over(struct be_supervisor *s);
/* Deadlines of a drain. */
void be_operate_check(struct be_supervisor *s);
/* Everything as it is now, by WIRE_ADMIN_* parts; false without memory. */
bool be_operate_state(struct be_supervisor *s, uint32_t parts, struct wire_admin_answer *answer);

#endif
