/* backend/main/registrar_none.c -- the build has no libcurl or no jansson */
#include "backend/main/registrar.h"

#include "protocol/base/log.h"

enum gp_status
be_registrar_check(const struct gp_options *options)
{
    if (!gp_options_is_set(options, "etcd"))
        return GP_OK;
    log_error("%s: this build has no directory (libcurl or jansson was missing)",
              gp_options_where(options, "etcd"));
    return GP_ERR_NOT_SUPPORTED;
}

int
be_registrar_run(const struct gp_options *options, int fd)
{
    (void)options;
    (void)fd;
    return 1;
}
