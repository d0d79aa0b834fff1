/* protocol/abi/near.h -- what the software device tells a server besides CUDA
 *
 * Its memory is the process's own. A GPU copies by itself between its memory and pinned memory; the
 * software device takes a core for it, which a server spares where it reads from a line, and writes
 * to it, the device's memory itself. Asked for by cuGetExportTable, so no other driver answers.
 */
#ifndef GP_ABI_NEAR_H
#define GP_ABI_NEAR_H

#include "protocol/abi/cuda_types.h"

#include <stdbool.h>
#include <stddef.h>

struct gp_near_table {
    size_t bytes; /* of this table */
    /* True where [address, address + bytes) is read and written by the same address here, as a copy
     * that takes no time of the device's model would do. */
    bool (*reaches)(CUdeviceptr address, size_t bytes);
};

#define GP_NEAR_TABLE_ID                                                                           \
    {                                                                                              \
        {                                                                                          \
            'g', 'p', 'u', 'p', 'o', 'o', 'l', ' ', 'n', 'e', 'a', 'r', ' ', ' ', ' ', '1'         \
        }                                                                                          \
    }

#endif
