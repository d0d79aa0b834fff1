/* protocol/base/random.h -- bytes that nobody can guess
 *
 * From getrandom(2); any thread. GP_ERR_IO only where the kernel has no generator (logged).
 */
#ifndef GP_RANDOM_H
#define GP_RANDOM_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

GP_CHECK enum gp_status gp_random_bytes(void *out, size_t bytes);

/* Compare secrets in a time that depends on bytes only. */
bool gp_secret_equal(const void *a, const void *b, size_t bytes);

#endif
