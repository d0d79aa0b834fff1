/* backend/cuda/link.h -- links of the client
 *
 * Threads: the executor's.
 */
#ifndef BE_LINK_H
#define BE_LINK_H

#include "backend/cuda/state.h"

#define BE_LINK_PIECE_MAX (4u << 20) /* of a result, in one answer */

struct be_link;

/* What a slot of a link holds. */
void be_link_end(struct be_session *session, struct be_link *link);

#endif
