/* backend/cuda/named.h -- calls that reach no memory but what they name
 *
 * Pure. Hostile input: the ranges are the client's numbers, unchecked.
 */
#ifndef BE_NAMED_H
#define BE_NAMED_H

#include "backend/memory/swap.h"

#include <stddef.h>

/* Whether this is a call that names its memory: a copy or fill in one dimension. */
bool be_names(uint16_t call);
/* The ranges that it names; false: it is no such call, or is not well formed. The body of
 * cuMemcpyHtoDAsync_v2 may be its head only. */
bool be_named(uint16_t call, const uint8_t *body, size_t len, struct be_swap_named *named_p);

#endif
