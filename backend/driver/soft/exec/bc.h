/* backend/driver/soft/exec/bc.h -- block-compressed textures: one texel of a block of 4x4
 *
 * The formats BC1 to BC7 as Direct3D 11 and the Khronos Data Format Specification define them. No
 * block is malformed: where an encoding is reserved, they say what it gives.
 *
 * Threads: pure.
 */
#ifndef SD_BC_H
#define SD_BC_H

#include <stdbool.h>
#include <stdint.h>

enum sd_bc {
    SD_BC_NONE,
    SD_BC1,
    SD_BC2,
    SD_BC3,
    SD_BC4,
    SD_BC4S,
    SD_BC5,
    SD_BC5S,
    SD_BC6,
    SD_BC6S,
    SD_BC7,
};

/* Bytes of a block: 8 or 16. */
static inline unsigned
sd_bc_bytes(enum sd_bc bc)
{
    return bc == SD_BC1 || bc == SD_BC4 || bc == SD_BC4S ? 8 : 16;
}

/* Whether colours may be stored as sRGB has them. */
static inline bool
sd_bc_may_be_srgb(enum sd_bc bc)
{
    return bc == SD_BC1 || bc == SD_BC2 || bc == SD_BC3 || bc == SD_BC7;
}

/* Texel (x, y) of a block, both below 4: red, green, blue, alpha. */
void sd_bc_texel(enum sd_bc bc, const uint8_t *block, unsigned x, unsigned y, float out[4]);

#endif
