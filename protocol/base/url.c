/* protocol/base/url.c */
#include "protocol/base/url.h"

#include "protocol/base/parse.h"

#include <stdio.h>
#include <string.h>

static bool
is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_name_char(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '.' || c == '_';
}

/* What an IPv6 address may hold, zone included; the resolver judges the rest. */
static bool
is_ipv6_char(char c)
{
    return is_name_char(c) || c == ':' || c == '%';
}

static enum gp_status
take_scheme(const char **at, struct gp_url *url)
{
    const char *end = strstr(*at, "://");
    size_t n, i;

    if (end == NULL || end == *at || (size_t)(end - *at) >= sizeof(url->scheme))
        return GP_ERR_INVALID;
    n = (size_t)(end - *at);
    for (i = 0; i < n; i++)
        if (!is_lower((*at)[i]) && (i == 0 || !is_digit((*at)[i])))
            return GP_ERR_INVALID;
    memcpy(url->scheme, *at, n);
    *at = end + 3;
    return GP_OK;
}

/* The rest of the text is a file's path or, behind @, a name in Linux's own space of names. */
static enum gp_status
take_path(const char **at, struct gp_url *url)
{
    size_t n = 0;

    while ((*at)[n] > ' ' && (*at)[n] <= '~' && (*at)[n] != ',')
        n++;
    if (n < 2 || n > GP_URL_PATH_MAX)
        return GP_ERR_INVALID;
    memcpy(url->host, *at, n);
    url->is_path = true;
    *at += n;
    return GP_OK;
}

static enum gp_status
take_host(const char **at, struct gp_url *url)
{
    const char *p = *at;
    size_t n = 0;

    if (*p == '/' || *p == '@')
        return take_path(at, url);
    url->is_ipv6 = *p == '[';
    if (url->is_ipv6)
        p++;
    if (*p == '*' && !url->is_ipv6)
        n = 1;
    else
        while (url->is_ipv6 ? is_ipv6_char(p[n]) : is_name_char(p[n]))
            n++;
    if (n == 0 || n > GP_URL_HOST_MAX || (url->is_ipv6 && p[n] != ']'))
        return GP_ERR_INVALID;
    if (url->is_ipv6 && memchr(p, ':', n) == NULL)
        return GP_ERR_INVALID;

    memcpy(url->host, p, n);
    *at = p + n + (url->is_ipv6 ? 1 : 0);
    return GP_OK;
}

enum gp_status
gp_url_parse(const char *text, struct gp_url *url_p)
{
    struct gp_url url = {.port = 0};
    uint64_t port;

    if (take_scheme(&text, &url) != GP_OK || take_host(&text, &url) != GP_OK)
        return GP_ERR_INVALID;
    if (text[0] == ':' && !url.is_path) {
        if (gp_parse_u64(text + 1, &port) != GP_OK || port > UINT16_MAX)
            return GP_ERR_INVALID;
        url.port = (uint16_t)port;
        url.has_port = true;
    } else if (text[0] != '\0') {
        return GP_ERR_INVALID;
    }
    *url_p = url;
    return GP_OK;
}

void
gp_url_format(const struct gp_url *url, char *out, size_t out_bytes)
{
    const char *open = url->is_ipv6 ? "[" : "", *close = url->is_ipv6 ? "]" : "";

    if (url->has_port)
        snprintf(out, out_bytes, "%s://%s%s%s:%u", url->scheme, open, url->host, close, url->port);
    else
        snprintf(out, out_bytes, "%s://%s%s%s", url->scheme, open, url->host, close);
}

enum gp_status
gp_url_list_parse(const char *text, struct gp_url *urls, size_t max, size_t *count_p)
{
    char entry[GP_URL_TEXT_MAX + 1];
    size_t count = 0;

    for (;;) {
        size_t n, used;

        text += strspn(text, " \t");
        n = strcspn(text, ",");
        for (used = n; used > 0 && (text[used - 1] == ' ' || text[used - 1] == '\t');)
            used--;
        if (used >= sizeof(entry))
            return GP_ERR_INVALID;
        if (count == max)
            return GP_ERR_LIMIT;
        memcpy(entry, text, used);
        entry[used] = '\0';
        if (gp_url_parse(entry, &urls[count]) != GP_OK)
            return GP_ERR_INVALID;
        count++;
        if (text[n] == '\0')
            break;
        text += n + 1;
    }
    *count_p = count;
    return GP_OK;
}

/* Whether a URL begins here. */
static bool
begins_url(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    return len > 0 && strncmp(text + len, "://", 3) == 0;
}

size_t
gp_url_group_next(const char *text)
{
    const char *plus = text;

    while ((plus = strchr(plus, '+')) != NULL && !begins_url(plus + 1))
        plus++;
    return plus != NULL ? (size_t)(plus - text) : strlen(text);
}
