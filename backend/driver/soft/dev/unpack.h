/* backend/driver/soft/dev/unpack.h -- bytes that the device decompresses itself */
#ifndef SD_UNPACK_H
#define SD_UNPACK_H

#include "backend/driver/soft/dev/work.h"

struct sd_alloc;

#define SD_UNPACK_ALGORITHMS                                                                       \
    (CU_MEM_DECOMPRESS_ALGORITHM_DEFLATE | CU_MEM_DECOMPRESS_ALGORITHM_SNAPPY |                    \
     CU_MEM_DECOMPRESS_ALGORITHM_LZ4)
#define SD_UNPACK_BYTES_MAX (4u << 20) /* of one operation, on either side */

/* Whether the memory was made for it: CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE. */
bool sd_unpack_capable(const struct sd_alloc *alloc);

/* LAUNCH_FAILED for input that is damaged or whose output finds no room. */
CUresult sd_unpack_run(const struct sd_unpack_work *work, const struct CUctx_st *ctx);

/* A raw block of Snappy's. False for input that is damaged or output larger than room. */
bool sd_snappy_unpack(const uint8_t *src, size_t src_bytes, uint8_t *dst, size_t room,
                      size_t *bytes_p);

#endif
