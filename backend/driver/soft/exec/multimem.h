/* backend/driver/soft/exec/multimem.h -- accesses to memory of several devices at once
 *
 * extra[d ...] of an SD_OP_multimem: these numbers, then the row of each element.
 */
#ifndef SD_MULTIMEM_H
#define SD_MULTIMEM_H

enum sd_multimem_kind {
    SD_MULTIMEM_LD_REDUCE, /* what is in all of them, put together */
    SD_MULTIMEM_ST,
    SD_MULTIMEM_RED,
};

enum sd_multimem_extra {
    SD_MM_KIND,
    SD_MM_OP,    /* enum sd_atom_op */
    SD_MM_TYPE,  /* enum sd_atom_type */
    SD_MM_COUNT, /* elements */
    SD_MM_BYTES, /* of one */
    SD_MM_WIDE,  /* halves are added up as f32 */
    SD_MM_ROWS,
};

#endif
