/* frontend/cuda/promise.h -- libraries whose loading the server has foretold
 *
 * By gpNoticeLibrary, after the opening: what loading an image gives that this program loaded in
 * an earlier session. Such a load waits for nothing.
 *
 * Threads: any; one lock inside, a leaf.
 */
#ifndef FE_PROMISE_H
#define FE_PROMISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FE_PROMISE_HASH_BYTES 32

struct fe_session;

/* By this server. On the reading thread. */
void fe_promise_add(struct fe_session *s, uint64_t total, const uint32_t sha256[8],
                    const uint8_t *table, size_t len);
/* Whether an image of this length is worth its hash. */
bool fe_promise_any(const struct fe_session *s, uint64_t total);
/* Taken at most once; *table_p is the caller's. */
bool fe_promise_take(const struct fe_session *s, uint64_t total,
                     const uint8_t digest[FE_PROMISE_HASH_BYTES], uint8_t **table_p, size_t *len_p);

#endif
