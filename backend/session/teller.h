/* backend/session/teller.h -- who tells a client what it should know, for the agent
 *
 * A client that does not read what it is sent makes who sends wait. The agent enforces what others
 * were promised, and waits for nobody: it leaves its words here.
 *
 * Threads: one of its own, made with the first word; the agent.
 */
#ifndef BE_TELLER_H
#define BE_TELLER_H

#include "backend/cuda/state.h"

struct be_teller;

enum gp_status be_teller_create(struct be_session *session, struct be_teller **teller_p);
/* The line is over. */
void be_teller_destroy(struct be_teller *teller);

/* A notice for a device: give back what you do not use; so many bytes are over the quota. */
void be_teller_lease(struct be_teller *teller, int32_t device);
void be_teller_over(struct be_teller *teller, int32_t device, uint64_t bytes);
/* For its user; one that was not told yet is forgotten. */
void be_teller_text(struct be_teller *teller, const char *text);

#endif
