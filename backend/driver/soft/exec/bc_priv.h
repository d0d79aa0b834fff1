/* backend/driver/soft/exec/bc_priv.h -- between the decoders of blocks */
#ifndef SD_BC_PRIV_H
#define SD_BC_PRIV_H

#include "backend/driver/soft/exec/bc.h"

/* texel: 4 * y + x. */
void sd_bc6_texel(const uint8_t *block, unsigned texel, bool is_signed, float out[4]);
void sd_bc7_texel(const uint8_t *block, unsigned texel, float out[4]);

#endif
