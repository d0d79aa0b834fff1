/* protocol/wire/data.h -- the head of a DATA frame's payload; the frame's tag is the data id */
#ifndef GP_WIRE_DATA_H
#define GP_WIRE_DATA_H

#include <stdint.h>

#define WIRE_DATA_LAST   1u /* no more pieces follow */
#define WIRE_DATA_PACKED 4u /* by zstd: result says how many bytes it was; only where agreed */
#define WIRE_DATA_FAILED 2u /* the copy failed, result says why; no bytes in this piece */

/* A piece of a device-to-host copy; the bytes follow to the end of the frame. */
struct wire_data {
    uint64_t offset; /* of these bytes in the copy */
    uint32_t flags;  /* WIRE_DATA_* */
    int32_t result;  /* CUresult, with WIRE_DATA_FAILED; bytes, with WIRE_DATA_PACKED */
};

_Static_assert(sizeof(struct wire_data) == 16, "wire_data");

#endif
