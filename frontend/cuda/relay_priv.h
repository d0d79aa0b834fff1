/* frontend/cuda/relay_priv.h -- what relay.c, relay_box.c and relay_put.c share */
#ifndef FE_RELAY_PRIV_H
#define FE_RELAY_PRIV_H

#include "frontend/cuda/relay.h"

/* The thread's context becomes the side's; a stream there that nothing of the program's is in. */
CUresult fe_relay_enter(const struct fe_relay_side *side, CUstream *stream_p);
/* The same, with the stream of bytes that go to another server. */
CUresult fe_relay_enter_to_go(const struct fe_relay_side *side, CUstream *stream_p);
/* Bytes from one to the other, which are there when this returns; captured (or NULL): what the
 * source was. The thread's context changes. */
CUresult fe_relay_bytes(const struct fe_relay_side *dst, const struct fe_relay_side *src,
                        const uint8_t *captured, size_t bytes);
/* The same by the servers themselves, both sides being device memory of two of them. False: it is
 * to be done by way of this process, also where it fails for good, so that the error comes as it
 * does there. */
bool fe_relay_put(const struct fe_relay_side *dst, const struct fe_relay_side *src, size_t bytes);
/* The same for a box, whose sides these are. */
CUresult fe_relay_box(const struct fe_relay_side *dst, const struct fe_relay_side *src,
                      const struct fe_copy *box);

#endif
