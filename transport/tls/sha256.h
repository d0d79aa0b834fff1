/* transport/tls/sha256.h -- SHA-256, for content names and certificate fingerprints
 *
 * Threads: a hash belongs to one thread at a time.
 * Errors:  GP_ERR_NO_MEMORY only.
 */
#ifndef TP_SHA256_H
#define TP_SHA256_H

#include "protocol/base/status.h"

#include <stddef.h>
#include <stdint.h>

#define TP_SHA256_BYTES 32

struct tp_sha256;

GP_CHECK enum gp_status tp_sha256_create(struct tp_sha256 **hash_p);
void tp_sha256_add(struct tp_sha256 *hash, const void *data, size_t bytes);
/* Ends and frees the hash; out NULL throws the result away. */
GP_CHECK enum gp_status tp_sha256_finish(struct tp_sha256 *hash, uint8_t out[TP_SHA256_BYTES]);

/* All at once. */
GP_CHECK enum gp_status tp_sha256(const void *data, size_t bytes, uint8_t out[TP_SHA256_BYTES]);

#endif
