/* backend/supervisor/notify.h -- what the service manager hears: sd_notify(3)'s protocol
 *
 * A datagram to $NOTIFY_SOCKET; nothing where that is not set. Threads: the supervisor's.
 */
#ifndef BE_NOTIFY_H
#define BE_NOTIFY_H

#include "protocol/base/util.h"

#include <stdint.h>

/* "READY=1", with lines of more; never waits. */
void be_notify(const char *fmt, ...) GP_PRINTF(1, 2);
/* Tell that we live, if it is time for it; when to tell again, GP_FOREVER: nobody watches. */
uint64_t be_notify_watchdog(uint64_t now_ns);

#endif
