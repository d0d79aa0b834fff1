/* protocol/wire/kernel_table.h -- the rows that describe a module's kernels
 *
 * The reply to a module or library load carries one row a kernel, in the order in which the
 * server numbers them. A row is a struct wire_kernel_row, then nparams times
 * struct wire_kernel_param, then the name with its NUL, padded to 8.
 *
 * Ids: a function or kernel has no id of its own, it is named by its owner and its row.
 * Threads: pure, any. Everything read is checked.
 */
#ifndef GP_WIRE_KERNEL_TABLE_H
#define GP_WIRE_KERNEL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE_KERNEL_ATTRIBUTES  16 /* CU_FUNC_ATTRIBUTE_* 0 .. 15 */
#define WIRE_KERNEL_PARAMS_MAX  4096u
#define WIRE_KERNEL_NAME_MAX    4096u
#define WIRE_KERNEL_ROW_NONE    0xffffffffu
#define WIRE_KERNEL_HAS_DETAILS 1u /* attributes and parameters are filled */

struct wire_kernel_param {
    uint32_t offset;
    uint32_t bytes;
};

struct wire_kernel_row {
    uint32_t bytes; /* of the whole row, a multiple of 8 */
    uint32_t row;   /* number of this kernel in its owner */
    uint32_t flags; /* WIRE_KERNEL_* */
    uint32_t nparams;
    uint32_t name_len;       /* without NUL */
    uint32_t attribute_mask; /* bit n: attributes[n] is known */
    int32_t attributes[WIRE_KERNEL_ATTRIBUTES];
};

_Static_assert(sizeof(struct wire_kernel_row) == 88, "wire_kernel_row");

/* Bits: 63 owner is a library (else a module), 62..40 owner's index, 39..24 low bits of the
 * owner's generation, 23..0 row. */
static inline uint64_t
wire_function_id(bool library, uint64_t owner_id, uint32_t row)
{
    uint64_t index = owner_id & 0x7fffff;
    uint64_t generation = owner_id >> 32 & 0xffff;

    return (uint64_t)library << 63 | index << 40 | generation << 24 | (row & 0xffffff);
}

/* The next row of a table; params_p and name_p point into it. False at the end or, with
 * *bad set, on a malformed row. */
static inline bool
wire_kernel_next(const uint8_t **table, size_t *len, struct wire_kernel_row *row,
                 const struct wire_kernel_param **params_p, const char **name_p, bool *bad)
{
    size_t params_bytes, need;
    const uint8_t *at = *table;

    if (*len == 0)
        return false;
    *bad = true;
    if (*len < sizeof(*row))
        return false;
    memcpy(row, at, sizeof(*row));
    if (row->nparams > WIRE_KERNEL_PARAMS_MAX || row->name_len >= WIRE_KERNEL_NAME_MAX)
        return false;
    params_bytes = row->nparams * sizeof(struct wire_kernel_param);
    need = (sizeof(*row) + params_bytes + row->name_len + 1 + 7) & ~(size_t)7;
    if (row->bytes != need || row->bytes > *len)
        return false;
    *params_p = (const struct wire_kernel_param *)(const void *)(at + sizeof(*row));
    *name_p = (const char *)at + sizeof(*row) + params_bytes;
    if (memchr(*name_p, 0, row->name_len + 1) != *name_p + row->name_len)
        return false;
    *table += row->bytes;
    *len -= row->bytes;
    *bad = false;
    return true;
}

#endif
