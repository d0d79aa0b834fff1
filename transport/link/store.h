/* transport/link/store.h -- bytes that were sent and that the peer may still lack
 *
 * A row of bytes numbered from 0, of which [start, end) is kept: added at the end, dropped from the
 * start. In pieces of memory that are used again while they are warm; what is lent stays where it
 * lies until it is dropped or settled.
 *
 * Threads: none; private to transport/link.
 */
#ifndef TP_STORE_H
#define TP_STORE_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct tp_store_piece;

struct tp_store {
    uint64_t start, end;
    struct tp_store_piece *first, *last; /* NULL only before the first use */
    struct tp_store_piece *spare;
    unsigned spares;
};

/* A zeroed struct is an empty store. */
void tp_store_fini(struct tp_store *store);
/* All or nothing. GP_ERR_NO_MEMORY. */
GP_CHECK enum gp_status tp_store_add(struct tp_store *store, const struct iovec *iov, int iovcnt,
                                     size_t bytes);
/* The same without a copy: the bytes must stay as they are until dropped, or settled. */
GP_CHECK enum gp_status tp_store_lend(struct tp_store *store, const void *bytes, size_t n);
/* Whether any of [base, base + bytes) is lent and still kept. */
bool tp_store_lends(const struct tp_store *store, const void *base, size_t bytes);
/* What was lent of [base, base + bytes) and is still kept is copied; on GP_ERR_NO_MEMORY some of it
 * is not. */
GP_CHECK enum gp_status tp_store_settle(struct tp_store *store, const void *base, size_t bytes);
/* Forget what is before to; start <= to <= end. */
void tp_store_drop(struct tp_store *store, uint64_t to);
/* Count bytes that are not kept; only where nothing is. */
void tp_store_pass(struct tp_store *store, uint64_t bytes);
/* Take back what was added from number `to` on; start <= to <= end. */
void tp_store_trim(struct tp_store *store, uint64_t to);
/* Where the bytes from `from` on lie, in their order; as many as fit. The number of pieces. */
int tp_store_find(const struct tp_store *store, uint64_t from, struct iovec *iov, int most);

#endif
