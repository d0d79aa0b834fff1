/* backend/memory/share.h -- what sessions of one tenant on one server let each other open
 *
 * A session offers something under a token of random bytes, which its client may hand to another
 * client; that one's worker asks for it here. The first half of a token finds the worker that
 * offers (an abstract socket, made with the first offer), the second is the secret that it checks,
 * together with the tenant's name. Descriptors travel from worker to worker; the supervisor is not
 * asked.
 *
 * Threads: the functions from the session's executor; one thread of its own answers others.
 * Lock:    share.lock (rank 12), held for no call that waits.
 * Hostile input: tokens come from clients, requests from other processes.
 */
#ifndef BE_SHARE_H
#define BE_SHARE_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BE_TOKEN_BYTES       32u
#define BE_TOKEN_PLACE_BYTES 8u /* of them: which worker */
#define BE_SHARE_TENANT_MAX  1024u
#define BE_SHARE_DATA_MAX    128u
#define BE_SHARE_PARTS_MAX   (64u << 10)
#define BE_OFFERS_MAX        (64u << 10)

struct be_share;

enum be_share_kind {
    BE_SHARE_OBJECT = 1, /* one physical object of the program's */
    BE_SHARE_MEMORY,     /* an allocation: its extents in order */
    BE_SHARE_EVENT,
};

/* What is offered. */
struct be_offer {
    uint32_t kind;
    uint32_t parts; /* descriptors */
    int32_t device;
    uint32_t handle_types;
    uint64_t bytes;  /* of the whole, as asked for */
    uint64_t offset; /* of its begin in the first part */
    uint8_t data[BE_SHARE_DATA_MAX];
    int *fds; /* parts of them */
    uint64_t *part_bytes;
};

/* Closes and frees what an offer holds. */
void be_offer_fini(struct be_offer *offer);

/* tenant is copied. */
GP_CHECK enum gp_status be_share_create(const char *tenant, struct be_share **share_p);
void be_share_destroy(struct be_share *share);

/*
 * Offer something under a new token, or under the one that key has already. The share owns what
 * *offer holds from then on, also on failure. Errors: GP_ERR_LIMIT, GP_ERR_NO_MEMORY, GP_ERR_IO
 * without a socket (logged).
 */
GP_CHECK enum gp_status be_share_offer(struct be_share *share, const void *key,
                                       struct be_offer *offer, uint8_t token[BE_TOKEN_BYTES]);
/* The token of key, if it is offered. */
bool be_share_token(struct be_share *share, const void *key, uint8_t token[BE_TOKEN_BYTES]);
/* What is gone is not offered any more; a key that is not there is fine. */
void be_share_withdraw(struct be_share *share, const void *key);

/* Withdraw all that gone says yes to; under the lock. */
typedef bool (*be_share_gone_fn)(void *user, const void *key, uint32_t kind);
void be_share_prune(struct be_share *share, be_share_gone_fn gone, void *user);

/*
 * Get what is offered under a token, by whichever session. *offer_p is the caller's.
 *
 * Errors: GP_ERR_NOT_FOUND for a token that is none, or not for this tenant, or of another kind;
 *         GP_ERR_TIMEOUT where the other worker does not answer.
 */
GP_CHECK enum gp_status be_share_fetch(struct be_share *share, const uint8_t token[BE_TOKEN_BYTES],
                                       enum be_share_kind kind, struct be_offer *offer_p);
/* True if the token is one that this session gave out. */
bool be_share_is_own(const struct be_share *share, const uint8_t token[BE_TOKEN_BYTES]);

#endif
