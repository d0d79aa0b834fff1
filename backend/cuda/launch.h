/* backend/cuda/launch.h -- launch attributes, as launches and occupancy questions have them */
#ifndef BE_LAUNCH_H
#define BE_LAUNCH_H

#include "backend/cuda/module.h"

#define BE_LAUNCH_ATTRIBUTES_MAX 32

/* Copy with the ids of events replaced by the driver's handles. */
CUresult be_launch_attributes(struct be_call *call, const void *from, uint32_t count,
                              CUlaunchAttribute *to);

/* void *[] over values that lie one after the other. */
CUresult be_launch_pointers(struct be_session *session, struct be_owner *owner,
                            struct be_kernel *kernel, const uint8_t *params, size_t bytes,
                            void **pointers);
/* A driver may copy what the kernel takes, not what the buffer of the extra form has. */
CUresult be_launch_extra_check(struct be_call *call, struct be_owner *owner,
                               struct be_kernel *kernel, size_t bytes);

#endif
