/* backend/supervisor/http_none.c -- the build has no libmicrohttpd */
#include "backend/supervisor/http.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"

enum gp_status
be_http_open(const char *url, be_http_page_fn page, void *user, struct be_http **http_p)
{
    (void)page;
    (void)user;
    (void)http_p;
    log_error("--metrics %s: this build has no metrics (libmicrohttpd was missing)", url);
    return GP_ERR_NOT_SUPPORTED;
}

void
be_http_close(struct be_http *http)
{
    (void)http;
}

int
be_http_fd(const struct be_http *http)
{
    (void)http;
    return -1;
}

void
be_http_serve(struct be_http *http)
{
    (void)http;
}

uint64_t
be_http_next(struct be_http *http, uint64_t now_ns)
{
    (void)http;
    (void)now_ns;
    return GP_FOREVER;
}
