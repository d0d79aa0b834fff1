/* protocol/directory/etcd.h -- etcd v3 by its JSON gateway
 *
 * Several endpoints: the one that answered last is asked first, and who does not answer is passed
 * over. TLS with a client certificate; with a user, a token is fetched and fetched again when etcd
 * does not know it any more. (With etcd's own authentication on, the client's certificate must have
 * no common name: the gateway refuses it otherwise.)
 *
 * Threads: one. Every call waits, for timeout_ms at most at each endpoint.
 * Errors:  GP_ERR_IO: no endpoint answers; GP_ERR_AUTH: refused; GP_ERR_NOT_FOUND: the lease is
 *          lost; GP_ERR_PROTOCOL: an answer that is none. dir_etcd_why() says it in words.
 */
#ifndef DIR_ETCD_H
#define DIR_ETCD_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIR_ENDPOINTS_MAX 16

struct dir_etcd_config {
    const char *endpoints[DIR_ENDPOINTS_MAX]; /* https://host:2379; borrowed for the call only */
    size_t endpoint_count;
    const char *ca, *cert, *key; /* PEM files; NULL: none */
    const char *user, *password; /* NULL: none */
    uint64_t timeout_ms;         /* 0: 8 s, longer than etcd itself waits for its quorum */
};

struct dir_etcd;

GP_CHECK enum gp_status dir_etcd_create(const struct dir_etcd_config *config,
                                        struct dir_etcd **etcd_p);
void dir_etcd_destroy(struct dir_etcd *etcd);
/* About the last call that failed. */
const char *dir_etcd_why(const struct dir_etcd *etcd);

GP_CHECK enum gp_status dir_etcd_grant(struct dir_etcd *etcd, uint64_t ttl_s, uint64_t *lease_p);
/* *ttl_s_p is what is left now. GP_ERR_NOT_FOUND: the lease has expired. */
GP_CHECK enum gp_status dir_etcd_keepalive(struct dir_etcd *etcd, uint64_t lease,
                                           uint64_t *ttl_s_p);
GP_CHECK enum gp_status dir_etcd_revoke(struct dir_etcd *etcd, uint64_t lease);
GP_CHECK enum gp_status dir_etcd_put(struct dir_etcd *etcd, const char *key, const char *value,
                                     uint64_t lease);

/* value is a text with its 0. */
typedef void (*dir_etcd_entry_fn)(void *user, const char *key, const char *value, uint64_t created);
/* All keys that begin with prefix, in the order of their creation. Read where the endpoint is, so
 * that it works without a quorum too, and may be a little old. revision_p (NULL: not wanted): how
 * old, for dir_etcd_watch(). */
GP_CHECK enum gp_status dir_etcd_range(struct dir_etcd *etcd, const char *prefix,
                                       dir_etcd_entry_fn entry, void *user, uint64_t *revision_p);
/* Until a key that begins with one of the prefixes changes, or has since that revision.
 * GP_ERR_TIMEOUT: none does so long. */
GP_CHECK enum gp_status dir_etcd_watch(struct dir_etcd *etcd, const char *const *prefixes,
                                       size_t count, uint64_t revision, uint64_t timeout_ms);

#endif
