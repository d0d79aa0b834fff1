/* transport/shm/shm.h -- a lane in memory that two processes of one machine share
 *
 * Private to transport/ and its tests. The two ends meet on a unix socket. The client says hello,
 * the server answers with two descriptors: sealed memory with a ring for each direction, and a
 * second socket. From then on all bytes go through the rings. The first socket carries bells for a
 * receiver that sleeps, and its hang-up says that the process is gone; the second one carries bells
 * for a sender that sleeps until there is room.
 */
#ifndef TP_SHM_H
#define TP_SHM_H

#include "transport/shm/ring.h"

#define TP_SHM_MAGIC      "gpshm\r\n"
#define TP_SHM_VERSION    1
#define TP_SHM_RING_BYTES (1u << 20) /* stays in a core's cache with what it is copied to */
#define TP_SHM_RING_MIN   (64u << 10)
#define TP_SHM_RING_MAX   (64u << 20)
#define TP_SHM_HEAD_BYTES 4096u /* struct tp_shm_head, then the two rings */

/* Both messages. */
struct tp_shm_hello {
    char magic[8];
    uint32_t version;
    uint32_t ring_bytes; /* of each direction; what the server says counts */
};

struct tp_shm_head {
    struct tp_ring_shared to_server, to_client;
};

static inline uint64_t
tp_shm_bytes(uint64_t ring_bytes)
{
    return TP_SHM_HEAD_BYTES + 2 * ring_bytes;
}

#endif
