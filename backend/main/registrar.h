/* backend/main/registrar.h -- the process that keeps the server's entries in the directory
 *
 * The supervisor starts it and gives it a line like an operator's: each second, and when it
 * hears (SIGUSR1) that a place was taken or became free, it asks what there is, and writes to etcd
 * what has changed, under one lease. libcurl, etcd's key and waiting for etcd are in here and in no
 * other process. It ends when the supervisor closes the line, and takes
 * the entries back; killed with the supervisor, it leaves them to their lease.
 */
#ifndef BE_REGISTRAR_H
#define BE_REGISTRAR_H

#include "protocol/base/options.h"

/* Whether the build can do it, and the options fit; GP_ERR_INVALID or GP_ERR_NOT_SUPPORTED is
 * logged. */
GP_CHECK enum gp_status be_registrar_check(const struct gp_options *options);
/* The process's exit code. */
int be_registrar_run(const struct gp_options *options, int fd);

#endif
