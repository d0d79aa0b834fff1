/* transport/resolve.h -- host names to addresses, within a deadline */
#ifndef TP_RESOLVE_H
#define TP_RESOLVE_H

#include "protocol/base/status.h"
#include "protocol/base/url.h"
#include "transport/transport.h"

#include <netdb.h>

struct tp_addresses {
    struct addrinfo *list; /* at least one */
};

/*
 * Find the addresses of url->host, or those to bind to.
 *
 * Numbers need no resolver. A name is asked for in a helper thread of the C library, so that a
 * resolver that hangs costs no more than opts->deadline_ns; its small request block is then lost.
 * Ownership: *out_p is the caller's on GP_OK, for tp_addresses_free().
 * Errors:    GP_ERR_NOT_FOUND, GP_ERR_TIMEOUT, GP_ERR_NO_MEMORY.
 */
GP_CHECK enum gp_status tp_resolve(const struct gp_url *url, bool passive,
                                   const struct tp_opts *opts, struct tp_addresses *out_p);
void tp_addresses_free(struct tp_addresses *addresses);

#endif
