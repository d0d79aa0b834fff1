/* transport/rdma/small.h -- small messages, which whoever looks at the ring finds by themselves
 *
 * No device promises an order in which the bytes of a write show in memory, so they say themselves
 * when all of them are there. In front of them stand, little endian:
 *
 *   u64 check of all that follows, u32 low half of where the message begins in the row, u32 bytes
 *
 * The check is keyed by the reader, whose key only its peer knows: what an earlier lap left there
 * is no message, whoever chose those bytes. A peer can forge one, which is to send it. Pure.
 */
#ifndef TP_RDMA_SMALL_H
#define TP_RDMA_SMALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TP_RDMA_HEAD_BYTES 16u
/* Longer ones gain little, and cost the reader a pass over bytes that are not there yet. */
#define TP_RDMA_SMALL_MOST 256u

/* Both made of one word, so that who does not know that knows neither. */
struct tp_rdma_key {
    uint64_t a, b;
};

struct tp_rdma_key tp_rdma_key_make(uint64_t word);

/* Of the head and the bytes behind it, together. */
uint64_t tp_rdma_small_check(const struct tp_rdma_key *key, uint64_t at, const uint8_t *message,
                             uint32_t bytes);

/* Put the head in front of bytes that lie behind it, 1..TP_RDMA_SMALL_MOST of them. */
void tp_rdma_small_seal(const struct tp_rdma_key *key, uint64_t at, uint8_t *message,
                        uint32_t bytes);

/* How many bytes the message has whose head seems to lie here; 0: there is none for this place. The
 * head may change meanwhile: *word_p is what was looked at. */
static inline uint32_t
tp_rdma_small_glance(uint64_t at, const uint8_t *head, uint64_t *word_p)
{
    uint32_t bytes;

    memcpy(word_p, head + 8, 8);
    bytes = (uint32_t)(*word_p >> 32);
    return (uint32_t)*word_p == (uint32_t)at && bytes <= TP_RDMA_SMALL_MOST ? bytes : 0;
}

/* Whether a copy of it, which nobody else writes to, is the whole message. */
static inline bool
tp_rdma_small_whole(const struct tp_rdma_key *key, uint64_t at, const uint8_t *copy, uint32_t bytes)
{
    uint64_t check;

    memcpy(&check, copy, 8);
    return check == tp_rdma_small_check(key, at, copy, bytes);
}

#endif
