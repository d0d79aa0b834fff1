/* protocol/cudart/log_callbacks.h -- lines for the functions of cuLogsRegisterCallback */
#ifndef GP_LOG_CALLBACKS_H
#define GP_LOG_CALLBACKS_H

#include "protocol/abi/cuda_types.h"

/* A line was logged; from any thread, with whatever locks are held. Cheap while nobody listens. */
void gp_log_callbacks_hear(CUlogLevel level, const char *text);

#endif
