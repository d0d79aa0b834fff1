/* backend/driver/soft/exec/mma.h -- matrix instructions, decoded
 *
 * Fragments are spread over the lanes as mma.sync defines it, also those of wmma, whose mapping
 * is left open. With g = lane / 4, t = lane % 4 and e elements in a register:
 *   A: row g (+ 8 in every other register), column t * e + i (+ 4 * e per pair)
 *   B: row t * e + i (+ 4 * e per register), column g
 *   C: row g (+ 8), columns 2 t and 2 t + 1
 * Larger matrices are made of such blocks, all of a block's registers side by side. Where a
 * fragment has more registers than that, they repeat.
 */
#ifndef SD_MMA_H
#define SD_MMA_H

#include <stdint.h>

/* Of one matrix; f64 ones have at most half as many. */
#define SD_MMA_ELEMENTS_MAX 4096

enum sd_mma_type {
    SD_MMA_F16, SD_MMA_BF16, SD_MMA_TF32, SD_MMA_F32, SD_MMA_F64, SD_MMA_U8, SD_MMA_S8,
    SD_MMA_U4, SD_MMA_S4, SD_MMA_B1, SD_MMA_S32, SD_MMA_E4M3, SD_MMA_E5M2,
};

enum sd_mma_matrix {
    SD_MMA_A, SD_MMA_B, SD_MMA_C,
};

/* Of one instruction, at the start of its extra words; rows of registers follow: d, a, b, c. */
struct sd_mma {
    uint8_t m, n;
    uint16_t k;
    uint8_t type[4];   /* d, a, b, c; enum sd_mma_type */
    uint8_t regs[4];   /* d, a, b, c */
    uint8_t satfinite;
    uint8_t and_popc;  /* SD_MMA_B1: and instead of xor */
    /* wmma.load and wmma.store: */
    uint8_t matrix;    /* enum sd_mma_matrix */
    uint8_t col_major;
    uint8_t space;     /* 0 global, 1 shared, 3 generic */
    uint8_t has_stride;
    int32_t offset;
    uint32_t site;
    uint32_t stride_row;
};

#define SD_MMA_WORDS ((sizeof(struct sd_mma) + 3) / 4)

#endif
