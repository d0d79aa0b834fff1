/* transport/shm/flow.h -- long copies into a ring and out of it
 *
 * One core writes the ring while another reads it, so what memcpy() does best for bytes that stay
 * in one core's cache is not what is best here. Any memory, any alignment, never overlapping.
 */
#ifndef TP_SHM_FLOW_H
#define TP_SHM_FLOW_H

#include <stddef.h>

/* From memory that is in no cache into the ring, which stays in this core's. */
void tp_flow_in(void *ring, const void *from, size_t bytes);
/* From the ring to memory that is not looked at soon: past the caches. */
void tp_flow_out(void *to, const void *ring, size_t bytes);

#endif
