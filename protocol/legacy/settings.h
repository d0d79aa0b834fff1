/* protocol/legacy/settings.h -- what is set for functions that are launched as before CUDA 4
 *
 * Lock: one, a leaf, held between _begin and _end.
 */
#ifndef GP_LEGACY_SETTINGS_H
#define GP_LEGACY_SETTINGS_H

#include "protocol/abi/cuda_types.h"

#include <stdint.h>

#define GP_LEGACY_PARAMS_MAX 4096u

struct gp_legacy_setting {
    CUfunction function;
    struct gp_legacy_setting *next;
    unsigned block[3];
    unsigned shared_bytes;
    unsigned param_bytes;
    uint8_t params[GP_LEGACY_PARAMS_MAX];
};

/* The function's setting, made at the first use; the lock is held. NULL (not held) without memory.
 */
struct gp_legacy_setting *gp_legacy_begin(CUfunction function);
void gp_legacy_end(void);

/* A function is gone: what was set for it is forgotten. Any thread; cheap where nothing was set. */
void gp_legacy_forget(CUfunction function);

#endif
