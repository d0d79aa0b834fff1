/* backend/main/worker.h -- the process that serves one session */
#ifndef BE_WORKER_H
#define BE_WORKER_H

#include "protocol/base/options.h"

/* Load the driver, wait for a connection behind the supervisor's socket, serve it. The process's
 * exit code. */
int be_worker_run(const struct gp_options *options, int socket);

#endif
