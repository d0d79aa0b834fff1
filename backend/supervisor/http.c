/* backend/supervisor/http.c */
#include "backend/supervisor/http.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/url.h"
#include "protocol/base/util.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PORT_DEFAULT    9470
#define CONNECTIONS_MAX 32u
#define SILENCE_S       10u
#define MEMORY_BYTES    ((size_t)16 << 10) /* of a connection: its request */

struct be_http {
    struct MHD_Daemon *daemon;
    be_http_page_fn page;
    void *user;
    int fd;
};

static enum MHD_Result
reply(struct MHD_Connection *connection, unsigned code, const void *data, size_t bytes,
      const char *type)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(bytes, (void *)(uintptr_t)data, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
request(void *user, struct MHD_Connection *connection, const char *path, const char *method,
        const char *version, const char *upload, size_t *upload_bytes, void **state)
{
    struct be_http *http = user;
    GP_AUTO_BUF struct gp_buf text = {0};

    (void)version;
    (void)upload;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "", 0, "text/plain");
    if (*upload_bytes != 0)
        return MHD_NO;
    if (!http->page(http->user, path, &text))
        return reply(connection, MHD_HTTP_NOT_FOUND, "see /metrics\n", 13, "text/plain");
    if (gp_buf_status(&text) != GP_OK)
        return reply(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "", 0, "text/plain");
    return reply(connection, MHD_HTTP_OK, text.data, text.len,
                 "text/plain; version=0.0.4; charset=utf-8");
}

/* Numbers only: a resolver would keep the loop. */
static enum gp_status
address_of(const char *url, struct sockaddr_storage *address)
{
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)address;
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)address;
    struct gp_url parsed;
    uint16_t port;

    if (gp_url_parse(url, &parsed) != GP_OK || strcmp(parsed.scheme, "http") != 0)
        return GP_ERR_INVALID;
    memset(address, 0, sizeof(*address));
    port = htons(parsed.has_port ? parsed.port : PORT_DEFAULT);
    if (inet_pton(AF_INET, strcmp(parsed.host, "localhost") == 0 ? "127.0.0.1" : parsed.host,
                  &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = port;
        return GP_OK;
    }
    if (inet_pton(AF_INET6, parsed.host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = port;
        return GP_OK;
    }
    return GP_ERR_INVALID;
}

enum gp_status
be_http_open(const char *url, be_http_page_fn page, void *user, struct be_http **http_p)
{
    const union MHD_DaemonInfo *fd, *port;
    struct sockaddr_storage address;
    struct be_http *http;
    unsigned flags = MHD_USE_EPOLL;

    if (address_of(url, &address) != GP_OK) {
        log_error("--metrics %s: not http://ADDRESS[:PORT] with an address in numbers", url);
        return GP_ERR_INVALID;
    }
    http = calloc(1, sizeof(*http));
    if (http == NULL)
        return GP_ERR_NO_MEMORY;
    http->page = page;
    http->user = user;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, request, http, MHD_OPTION_SOCK_ADDR,
                                    &address, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
                                    MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S,
                                    MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_BYTES,
                                    MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
    if (http->daemon == NULL) {
        log_error("--metrics %s: cannot listen there: %m", url);
        free(http);
        return GP_ERR_IO;
    }
    fd = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    port = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    http->fd = fd != NULL ? fd->epoll_fd : -1;
    log_info("metrics at %s, port %u, /metrics", url, port != NULL ? port->port : 0);
    *http_p = http;
    return GP_OK;
}

void
be_http_close(struct be_http *http)
{
    if (http == NULL)
        return;
    MHD_stop_daemon(http->daemon);
    free(http);
}

int
be_http_fd(const struct be_http *http)
{
    return http != NULL ? http->fd : -1;
}

void
be_http_serve(struct be_http *http)
{
    if (http != NULL)
        (void)MHD_run(http->daemon);
}

uint64_t
be_http_next(struct be_http *http, uint64_t now_ns)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (http == NULL || MHD_get_timeout(http->daemon, &ms) != MHD_YES)
        return GP_FOREVER;
    return gp_deadline_after(now_ns, (uint64_t)ms * GP_NS_PER_MS);
}
