/* frontend/cuda/content.h -- copies to the device that are named by their hash first
 *
 * Opt-in (GPUPOOL_CONTENT_CACHE=yes, and a server that keeps contents): for weights that many
 * programs load. Costs a round trip for each 256 MiB and their hash; saves the bytes.
 */
#ifndef FE_CONTENT_H
#define FE_CONTENT_H

#include "frontend/cuda/copy.h"

/* Whether that is wanted for a copy of so many bytes. */
bool fe_content_wanted(const struct fe_call *call, size_t bytes);
/* The copy. from is lent to the line: to be settled. call is cuMemcpyHtoDAsync_v2, before and
 * after. */
CUresult fe_content_send(struct fe_call *call, uint64_t dst, const uint8_t *from, size_t bytes,
                         const struct fe_where *where);

#endif
