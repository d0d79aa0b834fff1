/* backend/main/sandbox.h -- what a worker may no longer do once it serves
 *
 * A worker computes for a stranger and needs its connection, the driver's devices and its memory.
 * It needs no new programs and processes, no network connections, no files to write, and nothing of
 * the system's administration. Taken away for good, for all threads that the process will have.
 */
#ifndef BE_SANDBOX_H
#define BE_SANDBOX_H

#include "protocol/base/status.h"

/* Before the driver is loaded, so that its threads are bound too: files are written nowhere but
 * below the device and process file systems. Where the kernel cannot do that, it is noted and goes
 * on. */
void be_sandbox_files(void);
/* After the driver is loaded: the system-call filter, for all threads; resource limits. */
GP_CHECK enum gp_status be_sandbox_calls(void);

#endif
