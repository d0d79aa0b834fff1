/* backend/driver/soft/exec/atom.h -- atomic operations by kind and type
 *
 * extra[d ...] of an SD_OP_atom: operation, type, space (0 global, 1 shared, 2 local,
 * 3 generic, 4 shared of the cluster), row of the value to compare with, site, and whether a result is wanted.
 */
#ifndef SD_ATOM_H
#define SD_ATOM_H

#include <stdbool.h>
#include <stdint.h>

enum sd_atom_op {
    SD_ATOM_ADD, SD_ATOM_AND, SD_ATOM_OR, SD_ATOM_XOR, SD_ATOM_MIN, SD_ATOM_MAX,
    SD_ATOM_INC, SD_ATOM_DEC, SD_ATOM_EXCH, SD_ATOM_CAS, SD_ATOM_OPS,
};

enum sd_atom_type {
    SD_ATOM_U32, SD_ATOM_S32, SD_ATOM_U64, SD_ATOM_S64, SD_ATOM_F32, SD_ATOM_F64,
    SD_ATOM_B16, SD_ATOM_F16, SD_ATOM_F16X2, SD_ATOM_BF16, SD_ATOM_BF16X2, SD_ATOM_B128,
    SD_ATOM_F32_FTZ, /* f32 in global memory: additions flush subnormals */
    SD_ATOM_TYPES,
};

uint32_t sd_atom_bytes(enum sd_atom_type type);
bool sd_atom_known(enum sd_atom_op op, enum sd_atom_type type);
/* One known operation, neither of B128 nor CAS, on the aligned value at p; returns what was there. */
uint64_t sd_atom_apply(enum sd_atom_op op, enum sd_atom_type type, void *p, uint64_t v);

#endif
