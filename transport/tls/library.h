/* transport/tls/library.h -- OpenSSL's own state, once per process
 *
 * No configuration file is read and nothing is registered to run at exit: the library may sit in
 * somebody else's process, and may be used by destructors that run after exit() began. What
 * OpenSSL frees is wiped, unless somebody in the process used OpenSSL before us.
 */
#ifndef TP_TLS_LIBRARY_H
#define TP_TLS_LIBRARY_H

#include "protocol/base/status.h"

/* Any thread, any number of times. GP_ERR_NO_MEMORY if OpenSSL cannot start (logged). */
GP_CHECK enum gp_status tp_tls_library_init(void);

#endif
