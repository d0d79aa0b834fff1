/* backend/cuda/launch.h -- launch attributes, as launches and occupancy questions have them */
#ifndef BE_LAUNCH_H
#define BE_LAUNCH_H

#include "backend/cuda/state.h"

#define BE_LAUNCH_ATTRIBUTES_MAX 32

/* Copy with the ids of events replaced by the driver's handles. */
CUresult be_launch_attributes(struct be_call *call, const CUlaunchAttribute *from, uint32_t count,
                              CUlaunchAttribute *to);

#endif
