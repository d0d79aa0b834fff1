/* transport/rdma/small.c */
#include "transport/rdma/small.h"

/* -- keys ---------------------------------------------------------------------------------------
 */

/* Any word in, any word out, one to one (splitmix64). */
static uint64_t
stir(uint64_t v)
{
    v ^= v >> 30;
    v *= 0xbf58476d1ce4e5b9ull;
    v ^= v >> 27;
    v *= 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

struct tp_rdma_key
tp_rdma_key_make(uint64_t word)
{
    return (struct tp_rdma_key){stir(word + 0x9e3779b97f4a7c15ull),
                                stir(word + 0x3c6ef372fe94f82aull)};
}

/* -- checks -------------------------------------------------------------------------------------
 */

static uint64_t
word_at(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

/* Both halves of a product: each bit of either hangs on all others, and on the key. */
static uint64_t
fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* In steps of two words; the last of them may be some of the bytes before once more. */
uint64_t
tp_rdma_small_check(const struct tp_rdma_key *key, uint64_t at, const uint8_t *message,
                    uint32_t bytes)
{
    const uint8_t *word = message + 8, *end = message + TP_RDMA_HEAD_BYTES + bytes;
    uint64_t sum = key->a ^ at, b = key->b;

    for (uint32_t n = (8 + bytes) / 16; n > 0; n--, word += 16)
        sum = fold(word_at(word) ^ b, word_at(word + 8) ^ sum);
    if (end - word > 8)
        sum = fold(word_at(word) ^ b, word_at(end - 8) ^ sum);
    else if (end > word)
        sum = fold(word_at(end - 8) ^ b, sum);
    return sum;
}

void
tp_rdma_small_seal(const struct tp_rdma_key *key, uint64_t at, uint8_t *message, uint32_t bytes)
{
    uint64_t word = (uint64_t)bytes << 32 | (uint32_t)at, check;

    memcpy(message + 8, &word, 8);
    check = tp_rdma_small_check(key, at, message, bytes);
    memcpy(message, &check, 8);
}
