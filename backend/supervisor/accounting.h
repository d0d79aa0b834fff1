/* backend/supervisor/accounting.h -- sessions on their way into the accounts
 *
 * Threads: the supervisor's.
 */
#ifndef BE_ACCOUNTING_H
#define BE_ACCOUNTING_H

#include "protocol/wire/admin.h"

#include <stdbool.h>
#include <stdint.h>

struct be_supervisor;
struct be_worker;

GP_CHECK enum gp_status be_accounting_open(struct be_supervisor *s);
void be_accounting_close(struct be_supervisor *s);
/* Look at all sessions if it is time to; when it is next (gp_now_ns()). */
uint64_t be_accounting_check(struct be_supervisor *s, uint64_t now_ns);
/* A worker has ended; its slot is still its own. */
void be_accounting_gone(struct be_supervisor *s, const struct be_worker *worker);
/* The days that were asked for; false without memory. */
bool be_accounting_fill(struct be_supervisor *s, const struct wire_admin_request *request,
                        struct wire_admin_answer *answer);

#endif
