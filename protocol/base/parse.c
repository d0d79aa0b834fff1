/* protocol/base/parse.c */
#include "protocol/base/parse.h"

#include "protocol/base/util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, as the formatters want it. */
static const struct unit byte_units[] = {
    {"t", 1ull << 40}, {"g", 1ull << 30}, {"m", 1ull << 20}, {"k", 1ull << 10}, {"", 1},
};

static const struct unit time_units[] = {
    {"h", 3600000000000ull}, {"m", 60000000000ull}, {"s", 1000000000ull},
    {"ms", 1000000ull},      {"us", 1000ull},       {"ns", 1},
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

enum gp_status
gp_parse_u64(const char *text, uint64_t *out_p)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && text[2] != '\0';
    unsigned long long v;
    char *end;

    if (!is_digit(text[0])) /* strtoull would take a sign or blanks */
        return GP_ERR_INVALID;
    errno = 0;
    v = strtoull(text, &end, hex ? 16 : 10);
    if (errno != 0 || *end != '\0')
        return GP_ERR_INVALID;
    *out_p = v;
    return GP_OK;
}

/* Read "123" or "1.5" and multiply; *end_p is what follows the number. At most 9 decimals count. */
static enum gp_status
scaled(const char *text, const char *end, uint64_t factor, uint64_t *out_p)
{
    uint64_t whole = 0, part = 0, weight = 1;
    unsigned __int128 v;
    const char *p = text;

    for (; p < end && is_digit(*p); p++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
            return GP_ERR_INVALID;
    if (p < end && *p == '.') {
        for (p++; p < end && is_digit(*p) && weight < 1000000000; p++, weight *= 10)
            part = part * 10 + (uint64_t)(*p - '0');
    }
    if (p != end)
        return GP_ERR_INVALID;

    v = (unsigned __int128)whole * factor + (unsigned __int128)part * factor / weight;
    if (v > UINT64_MAX)
        return GP_ERR_INVALID;
    *out_p = (uint64_t)v;
    return GP_OK;
}

static const char *
number_end(const char *text)
{
    const char *p = text;

    if (!is_digit(*p))
        return NULL;
    while (is_digit(*p))
        p++;
    if (p[0] == '.' && is_digit(p[1])) {
        p++;
        while (is_digit(*p))
            p++;
    }
    return p;
}

static bool
is_byte_unit(const char *word, const char *unit)
{
    size_t n = strlen(unit);

    if (strncasecmp(word, unit, n) != 0)
        return false;
    word += n;
    return *word == '\0' || strcasecmp(word, "b") == 0 || (n > 0 && strcasecmp(word, "ib") == 0);
}

enum gp_status
gp_parse_bytes(const char *text, uint64_t *bytes_p)
{
    const char *unit = number_end(text);
    size_t i;

    for (i = 0; unit != NULL && i < GP_ARRAY_LEN(byte_units); i++)
        if (is_byte_unit(unit, byte_units[i].name))
            return scaled(text, unit, byte_units[i].factor, bytes_p);
    return GP_ERR_INVALID;
}

enum gp_status
gp_parse_time(const char *text, uint64_t *ns_p)
{
    const char *unit = number_end(text);
    size_t i;

    if (unit != NULL && *unit == '\0')
        return scaled(text, unit, 1000000000ull, ns_p);
    for (i = 0; unit != NULL && i < GP_ARRAY_LEN(time_units); i++)
        if (strcmp(unit, time_units[i].name) == 0)
            return scaled(text, unit, time_units[i].factor, ns_p);
    return GP_ERR_INVALID;
}

enum gp_status
gp_parse_bool(const char *text, bool *out_p)
{
    static const char *const yes[] = {"yes", "on", "true", "1"};
    static const char *const no[] = {"no", "off", "false", "0"};
    size_t i;

    for (i = 0; i < GP_ARRAY_LEN(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *out_p = strcasecmp(text, yes[i]) == 0;
            return GP_OK;
        }
    }
    return GP_ERR_INVALID;
}

static void
format(uint64_t v, const struct unit *units, size_t count, char *out, size_t out_bytes)
{
    size_t i = 0;

    while (i + 1 < count && (v < units[i].factor || v % units[i].factor != 0))
        i++;
    snprintf(out, out_bytes, "%llu%s", (unsigned long long)(v / units[i].factor), units[i].name);
}

void
gp_format_bytes(uint64_t bytes, char *out, size_t out_bytes)
{
    format(bytes, byte_units, GP_ARRAY_LEN(byte_units), out, out_bytes);
}

void
gp_format_time(uint64_t ns, char *out, size_t out_bytes)
{
    format(ns, time_units, GP_ARRAY_LEN(time_units), out, out_bytes);
}
