/* backend/session/count.h -- which class of calls one belongs to, for counters */
#ifndef BE_SESSION_COUNT_H
#define BE_SESSION_COUNT_H

#include "backend/metrics/board.h"

#include <stdint.h>

/* Before sessions run. */
void be_count_init(void);
/* id is below WIRE_CALL_COUNT. */
enum be_count be_count_class(uint16_t id);

#endif
