/* protocol/base/url.h -- where a server is: scheme://host[:port], or scheme:///path
 *
 * Pure. The host is a name, an IPv4 address, an IPv6 address in brackets, or "*". On this machine
 * it may be the path of a unix socket ("shm:///run/gpupool.sock"), or "@name" without a file.
 * GP_ERR_INVALID for everything else, outputs untouched, nothing logged.
 */
#ifndef GP_URL_H
#define GP_URL_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GP_URL_HOST_MAX 253
#define GP_URL_PATH_MAX 106 /* what sockaddr_un takes, less an end */
#define GP_URL_TEXT_MAX (16 + 3 + GP_URL_HOST_MAX + 2 + 6)

struct gp_url {
    char scheme[16];                /* lowercase */
    char host[GP_URL_HOST_MAX + 1]; /* without brackets; the path, if is_path */
    uint16_t port;
    bool has_port; /* port was given, be it 0 */
    bool is_ipv6;  /* host was in brackets */
    bool is_path;  /* begins with / or @; has no port */
};

GP_CHECK enum gp_status gp_url_parse(const char *text, struct gp_url *url_p);

/* Writes it as it is read; out_bytes above GP_URL_TEXT_MAX always suffice. */
void gp_url_format(const struct gp_url *url, char *out, size_t out_bytes);

/*
 * Read a list by comma ("tls://a:1,tls://[::1]:2"); blanks around an entry are allowed.
 *
 * Errors: GP_ERR_INVALID for an empty list or a bad entry; GP_ERR_LIMIT for more than max.
 */
GP_CHECK enum gp_status gp_url_list_parse(const char *text, struct gp_url *urls, size_t max,
                                          size_t *count_p);

/* "tls://a:1+tls://b:2": how long the first URL is; a plus ends it where another scheme begins. */
size_t gp_url_group_next(const char *text);

#endif
