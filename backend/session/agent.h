/* backend/session/agent.h -- what the server's other sessions and its operator want of this one
 *
 * One thread for each session with a ledger. It hears the ledger's bell: others want memory that
 * this client was promised and does not use, or a quota became smaller. The client is asked to give
 * it back, and what then still stands over a quota is taken.
 */
#ifndef BE_AGENT_H
#define BE_AGENT_H

#include "protocol/base/status.h"

struct be_agent;
struct be_session;

/* *agent_p is NULL where there is nothing to hear. */
GP_CHECK enum gp_status be_agent_start(struct be_session *session, struct be_agent **agent_p);
void be_agent_stop(struct be_agent *agent);

#endif
