/* frontend/cuda/upper.h -- passing by bytes that hold no address of a range, four words at a time
 */
#ifndef FE_UPPER_H
#define FE_UPPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FE_UPPER_BYTES 256u

/* The upper halves of addresses from least to most, of two ranges. A program's have 47 bits. */
struct fe_upper {
    int32_t least[2], most[2];
};

/* low > high: none. */
static inline void
fe_upper_set(struct fe_upper *u, int i, uint64_t low, uint64_t high)
{
    u->least[i] = low <= high ? (int32_t)(low >> 32) : INT32_MAX;
    u->most[i] = low <= high ? (int32_t)(high >> 32) : -1;
}

/* False if none of the words in FE_UPPER_BYTES is such an address. */
static inline bool
fe_upper_may(const struct fe_upper *u, const uint8_t *from)
{
    typedef int32_t four __attribute__((vector_size(16)));
    four any = {0}, a, b, upper;

    for (size_t at = 0; at < FE_UPPER_BYTES; at += sizeof(a) + sizeof(b)) {
        memcpy(&a, from + at, sizeof(a));
        memcpy(&b, from + at + sizeof(a), sizeof(b));
        upper = __builtin_shufflevector(a, b, 1, 3, 5, 7);
        any |= (upper >= u->least[0]) & (upper <= u->most[0]);
        any |= (upper >= u->least[1]) & (upper <= u->most[1]);
    }
    return (any[0] | any[1] | any[2] | any[3]) != 0;
}

#endif
