/* backend/supervisor/http.h -- metrics by HTTP, where the build has libmicrohttpd
 *
 * No thread: the library looks at its sockets when the supervisor's loop says that something is
 * there. 32 connections at most, ten seconds of silence, GET and HEAD, no body taken.
 */
#ifndef BE_HTTP_H
#define BE_HTTP_H

#include "protocol/base/buf.h"
#include "protocol/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct be_http;

/* Write the page of path into out; false: there is none. */
typedef bool (*be_http_page_fn)(void *user, const char *path, struct gp_buf *out);

/* url is http://address[:port], port 9470 by default; names are not looked up. Errors are logged.
 */
GP_CHECK enum gp_status be_http_open(const char *url, be_http_page_fn page, void *user,
                                     struct be_http **http_p);
void be_http_close(struct be_http *http);
int be_http_fd(const struct be_http *http); /* -1: http is NULL */
/* When the descriptor is readable or the time is over. */
void be_http_serve(struct be_http *http);
/* When to serve at the latest. */
uint64_t be_http_next(struct be_http *http, uint64_t now_ns);

#endif
