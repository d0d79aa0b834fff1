/* protocol/base/status.c */
#include "protocol/base/status.h"

#include "protocol/base/util.h"

static const char *const texts[] = {
    [GP_OK] = "ok",
    [GP_ERR_AGAIN] = "try again",
    [GP_ERR_CLOSED] = "closed by the peer",
    [GP_ERR_IO] = "input/output error",
    [GP_ERR_TIMEOUT] = "timed out",
    [GP_ERR_PROTOCOL] = "protocol error",
    [GP_ERR_VERSION] = "no common version",
    [GP_ERR_AUTH] = "not authorised",
    [GP_ERR_NO_MEMORY] = "out of memory",
    [GP_ERR_NOT_FOUND] = "not found",
    [GP_ERR_INVALID] = "invalid argument",
    [GP_ERR_NOT_SUPPORTED] = "not supported",
    [GP_ERR_LIMIT] = "over a limit",
    [GP_ERR_REFUSED] = "nobody listens there",
};

const char *
gp_status_text(enum gp_status status)
{
    if ((unsigned)status >= GP_ARRAY_LEN(texts) || texts[status] == NULL)
        return "unknown status";
    return texts[status];
}
