/* transport/bundle/bundle.h -- one row of bytes over several lanes
 *
 * For where one connection cannot fill the line, or one core cannot encrypt for it. The first lane
 * carries what is short, at once and from the caller's thread; long runs of bytes go by whichever
 * lane has room, each run with its place in the row, and are put together again in that order. A
 * bundle lives as long as the shortest-lived of its lanes: when one fails the bundle has failed,
 * and the link above (transport/link) goes on with another one, from the byte that was reached.
 *
 * Threads: as any lane's. Each further lane has two of its own, one for each direction.
 */
#ifndef TP_BUNDLE_H
#define TP_BUNDLE_H

#include "transport/transport.h"

#define TP_BUNDLE_MAX 8 /* lanes */

/*
 * Both ends must do so with the same number of lanes, in a moment when all that was sent on each of
 * them has been received; in whatever order the further ones are.
 *
 * Ownership: takes all lanes in every case.
 * Errors:    GP_ERR_INVALID for fewer than two or too many, GP_ERR_NOT_SUPPORTED for lanes that are
 *            no sockets, GP_ERR_NO_MEMORY, GP_ERR_LIMIT.
 */
GP_CHECK enum gp_status tp_bundle_make(struct tp_lane *const *lanes, unsigned count,
                                       struct tp_lane **bundle_p);

#endif
