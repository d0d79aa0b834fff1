/* protocol/legacy/external.h -- buffers of imported memory end with cuMemFree */
#ifndef GP_LEGACY_EXTERNAL_H
#define GP_LEGACY_EXTERNAL_H

#include "protocol/abi/cuda_types.h"

#include <stdbool.h>

/* False if no buffer of external memory begins at address; else it ended, or *cr_p says why not. */
bool gp_external_free(CUdeviceptr address, CUresult *cr_p);

#endif
