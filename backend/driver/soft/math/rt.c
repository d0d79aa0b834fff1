/* backend/driver/soft/math/rt.c -- device printf and assert */
#include "backend/driver/soft/math/sd_rt.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- growing text -------------------------------------------------------------------------- */

static bool
text_reserve(struct sd_rt_text *text, size_t more)
{
    size_t want = text->len + more + 1, size = text->size == 0 ? 256 : text->size;
    char *data;

    if (want <= text->size)
        return true;
    while (size < want)
        size *= 2;
    data = realloc(text->data, size);
    if (data == NULL)
        return false;
    text->data = data;
    text->size = size;
    return true;
}

static bool
text_append(struct sd_rt_text *text, const char *bytes, size_t len)
{
    if (!text_reserve(text, len))
        return false;
    memcpy(text->data + text->len, bytes, len);
    text->len += len;
    text->data[text->len] = '\0';
    return true;
}

void
sd_rt_text_fini(struct sd_rt_text *text)
{
    free(text->data);
    *text = (struct sd_rt_text){0};
}

/* -- strings in device memory ------------------------------------------------------------------ */

enum read_result {
    READ_OK,
    READ_FAULT,
    READ_NO_MEMORY,
};

/*
 * Append the string at address, without its NUL, at most max bytes. Reads up to the next
 * multiple of 64, byte by byte where that is not readable as a whole: a string may end at
 * the end of its allocation. *fault_p is set on READ_FAULT only.
 */
static enum read_result
read_string(const struct sd_rt_reader *reader, uint64_t address, size_t max,
            struct sd_rt_text *text, uint64_t *fault_p)
{
    char chunk[64];

    while (max > 0) {
        size_t n = 64 - (address & 63), used;

        n = n < max ? n : max;
        if (!reader->read(reader->opaque, address, chunk, n)) {
            n = 1;
            if (!reader->read(reader->opaque, address, chunk, n)) {
                *fault_p = address;
                return READ_FAULT;
            }
        }
        used = strnlen(chunk, n);
        if (!text_append(text, chunk, used))
            return READ_NO_MEMORY;
        if (used < n)
            return READ_OK;
        address += n;
        max -= n;
    }
    return READ_OK;
}

/* -- printf
 * ---------------------------------------------------------------------------------------- */

struct printer {
    const struct sd_rt_reader *reader;
    struct sd_rt_text *text;
    size_t limit;  /* text->len stops here */
    uint64_t args; /* address of the packed arguments */
    uint64_t used; /* bytes of them consumed */
    int count;     /* arguments consumed */
    uint64_t fault;
    enum read_result result;
};

/* One conversion specification. */
struct spec {
    char flags[8];
    int width;     /* -1 if absent */
    int precision; /* -1 if absent */
    int size;      /* bytes of an integer argument: 1, 2, 4, 8 */
    char type;     /* '\0' if the format ended */
};

static void
fail(struct printer *p, enum read_result result, uint64_t fault)
{
    if (p->result == READ_OK) {
        p->result = result;
        p->fault = fault;
    }
}

static void
put(struct printer *p, const char *bytes, size_t len)
{
    size_t room = p->limit > p->text->len ? p->limit - p->text->len : 0;

    if (!text_append(p->text, bytes, len < room ? len : room))
        fail(p, READ_NO_MEMORY, 0);
}

/* The next argument of 4 or 8 bytes, at its natural alignment. */
static uint64_t
next_arg(struct printer *p, size_t bytes)
{
    uint64_t offset = (p->used + bytes - 1) & ~(uint64_t)(bytes - 1), wide = 0;
    uint32_t word = 0;
    bool ok;

    if (p->result != READ_OK)
        return 0;
    ok = p->args != 0 && p->reader->read(p->reader->opaque, p->args + offset,
                                         bytes == 4 ? (void *)&word : &wide, bytes);
    if (!ok)
        fail(p, READ_FAULT, p->args + offset);
    p->used = offset + bytes;
    p->count++;
    return bytes == 4 ? word : wide;
}

static int
clamp_count(int64_t v)
{
    return v > (int64_t)SD_RT_TEXT_MAX ? (int)SD_RT_TEXT_MAX : (int)v;
}

static const char *
parse_number(const char *s, int *number_p)
{
    int64_t n = 0;

    while (*s >= '0' && *s <= '9') {
        n = n * 10 + (*s++ - '0');
        n = clamp_count(n);
    }
    *number_p = (int)n;
    return s;
}

static void
add_flag(struct spec *spec, char flag)
{
    size_t len = strlen(spec->flags);

    if (strchr(spec->flags, flag) == NULL && len + 1 < sizeof(spec->flags))
        spec->flags[len] = flag;
}

/* Width and precision, which may come from arguments. */
static const char *
parse_counts(struct printer *p, const char *s, struct spec *spec)
{
    int32_t n;

    if (*s == '*') {
        n = (int32_t)next_arg(p, 4);
        if (n < 0)
            add_flag(spec, '-');
        spec->width = clamp_count(n < 0 ? -(int64_t)n : n);
        s++;
    } else if (*s >= '1' && *s <= '9') {
        s = parse_number(s, &spec->width);
    }
    if (*s != '.')
        return s;
    if (*++s == '*') {
        n = (int32_t)next_arg(p, 4);
        spec->precision = n < 0 ? -1 : clamp_count(n);
        return s + 1;
    }
    return parse_number(s, &spec->precision);
}

static const char *
parse_size(const char *s, struct spec *spec)
{
    spec->size = 4;
    for (;; s++) {
        switch (*s) {
        case 'h':
            spec->size = spec->size == 2 ? 1 : 2;
            break;
        case 'l':
        case 'j':
        case 'z':
        case 't':
            spec->size = 8;
            break;
        case 'L':
            break; /* long double is double on the device */
        default:
            return s;
        }
    }
}

/* s is behind the '%'; returns what follows the conversion's letter. */
static const char *
parse_spec(struct printer *p, const char *s, struct spec *spec)
{
    *spec = (struct spec){.width = -1, .precision = -1};
    while (*s != '\0' && strchr("-+ #0", *s) != NULL)
        add_flag(spec, *s++);
    s = parse_counts(p, s, spec);
    s = parse_size(s, spec);
    spec->type = *s;
    return *s == '\0' ? s : s + 1;
}

/* "%<flags><width>.<precision><length><type>" for the host's snprintf. */
static void
host_format(const struct spec *spec, const char *length, char type, char out[64])
{
    char width[16] = "", precision[16] = "";

    if (spec->width >= 0)
        snprintf(width, sizeof(width), "%d", spec->width);
    if (spec->precision >= 0)
        snprintf(precision, sizeof(precision), ".%d", spec->precision);
    snprintf(out, 64, "%%%s%s%s%s%c", spec->flags, width, precision, length, type);
}

/* One argument through the host's printf, straight into the text. */
static void
put_host(struct printer *p, const char *format, ...)
{
    va_list ap, again;
    int len;

    va_start(ap, format);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (len < 0 || !text_reserve(p->text, (size_t)len)) {
        fail(p, READ_NO_MEMORY, 0);
    } else {
        vsnprintf(p->text->data + p->text->len, (size_t)len + 1, format, again);
        p->text->len += (size_t)len;
        if (p->text->len > p->limit) {
            p->text->len = p->limit;
            p->text->data[p->limit] = '\0';
        }
    }
    va_end(again);
}

static void
put_integer(struct printer *p, const struct spec *spec)
{
    uint64_t raw = next_arg(p, spec->size == 8 ? 8 : 4);
    unsigned drop = 64 - 8 * (unsigned)spec->size;
    char format[64];

    host_format(spec, "l", spec->type, format);
    if (spec->type == 'd' || spec->type == 'i')
        put_host(p, format, (long)((int64_t)(raw << drop) >> drop));
    else
        put_host(p, format, (unsigned long)(raw << drop >> drop));
}

static void
put_double(struct printer *p, const struct spec *spec)
{
    uint64_t raw = next_arg(p, 8);
    char format[64];
    double value;

    memcpy(&value, &raw, sizeof(value));
    host_format(spec, "", spec->type, format);
    put_host(p, format, value);
}

static void
put_pointer(struct printer *p, const struct spec *spec)
{
    uint64_t raw = next_arg(p, 8);
    char format[64];

    host_format(spec, "", 'p', format);
    put_host(p, format, (void *)(uintptr_t)raw);
}

static void
put_spaces(struct printer *p, size_t n)
{
    size_t room = p->limit > p->text->len ? p->limit - p->text->len : 0;

    n = n < room ? n : room;
    if (!text_reserve(p->text, n)) {
        fail(p, READ_NO_MEMORY, 0);
        return;
    }
    memset(p->text->data + p->text->len, ' ', n);
    p->text->len += n;
    p->text->data[p->text->len] = '\0';
}

/* Text with width: not through snprintf, because it may hold a NUL or be long. */
static void
put_padded(struct printer *p, const struct spec *spec, const char *bytes, size_t len)
{
    size_t pad = spec->width > 0 && (size_t)spec->width > len ? (size_t)spec->width - len : 0;
    bool left = strchr(spec->flags, '-') != NULL;

    if (left)
        put(p, bytes, len);
    put_spaces(p, pad);
    if (!left)
        put(p, bytes, len);
}

static void
put_string(struct printer *p, const struct spec *spec)
{
    uint64_t address = next_arg(p, 8), fault = 0;
    size_t max = spec->precision >= 0 ? (size_t)spec->precision : SD_RT_TEXT_MAX;
    struct sd_rt_text string = {0};
    enum read_result result = READ_OK;

    if (p->result != READ_OK)
        return;
    if (address == 0)
        result = text_append(&string, "(null)", max < 6 ? max : 6) ? READ_OK : READ_NO_MEMORY;
    else
        result = read_string(p->reader, address, max, &string, &fault);
    if (result == READ_OK)
        put_padded(p, spec, string.len > 0 ? string.data : "", string.len);
    else
        fail(p, result, fault);
    sd_rt_text_fini(&string);
}

static void
put_char(struct printer *p, const struct spec *spec)
{
    char c = (char)next_arg(p, 4);

    put_padded(p, spec, &c, 1);
}

static const char *
skip_any(const char *s, const char *set)
{
    return s + strspn(s, set);
}

/* Arguments that a conversion takes, its '*' included; 0 if it is malformed or not known. */
static int
args_of(const char *s)
{
    int stars = 0;

    s = skip_any(s, "-+ #0");
    stars += *s == '*';
    s = *s == '*' ? s + 1 : skip_any(s, "0123456789");
    if (*s == '.') {
        stars += *++s == '*';
        s = *s == '*' ? s + 1 : skip_any(s, "0123456789");
    }
    s = skip_any(s, "hljztL");
    return *s != '\0' && strchr("diouxXcspneEfFgGaA", *s) != NULL ? stars + 1 : 0;
}

/* s is behind a '%' that is not "%%"; returns where the format goes on. */
static const char *
put_conversion(struct printer *p, const char *s)
{
    int need = args_of(s);
    struct spec spec;

    if (need == 0 || p->count + need > SD_RT_ARGS_MAX) {
        put(p, "%", 1); /* the rest follows as ordinary text */
        return s;
    }
    s = parse_spec(p, s, &spec);
    switch (spec.type) {
    case 'd':
    case 'i':
    case 'o':
    case 'u':
    case 'x':
    case 'X':
        put_integer(p, &spec);
        break;
    case 'c':
        put_char(p, &spec);
        break;
    case 's':
        put_string(p, &spec);
        break;
    case 'p':
        put_pointer(p, &spec);
        break;
    case 'n': /* consumed, never written */
        (void)next_arg(p, 8);
        break;
    default:
        put_double(p, &spec);
        break;
    }
    return s;
}

static void
put_format(struct printer *p, const char *format)
{
    const char *s = format;

    while (*s != '\0' && p->result == READ_OK && p->text->len < p->limit) {
        size_t plain = strcspn(s, "%");

        put(p, s, plain);
        s += plain;
        if (*s == '\0')
            break;
        if (s[1] == '%') {
            put(p, "%", 1);
            s += 2;
        } else {
            s = put_conversion(p, s + 1);
        }
    }
}

int
sd_rt_printf(const struct sd_rt_reader *reader, uint64_t format, uint64_t args,
             struct sd_rt_text *text, uint64_t *fault_p)
{
    struct printer p = {
        .reader = reader, .text = text, .args = args, .limit = text->len + SD_RT_TEXT_MAX};
    struct sd_rt_text string = {0};

    if (format == 0)
        return -1;
    p.result = read_string(reader, format, SD_RT_TEXT_MAX, &string, &p.fault);
    if (p.result == READ_OK && string.len > 0)
        put_format(&p, string.data);
    sd_rt_text_fini(&string);
    if (p.result == READ_FAULT && fault_p != NULL)
        *fault_p = p.fault;
    return p.result == READ_OK ? p.count : -2;
}

/* -- assert -------------------------------------------------------------------------------------
 */

/* An assertion's texts come from the compiler and are short; hostile ones are cut. */
static bool
append_string(const struct sd_rt_reader *reader, uint64_t address, struct sd_rt_text *text)
{
    const size_t max = 4096;
    uint64_t fault;
    enum read_result result = READ_FAULT;

    if (address != 0)
        result = read_string(reader, address, max, text, &fault);
    if (result == READ_FAULT)
        return text_append(text, "?", 1);
    return result == READ_OK;
}

bool
sd_rt_assert(const struct sd_rt_reader *reader, uint64_t message, uint64_t file, uint32_t line,
             uint64_t function, const uint32_t block[3], const uint32_t thread[3],
             struct sd_rt_text *text)
{
    char number[16], where[128];

    snprintf(number, sizeof(number), ":%u: ", line);
    snprintf(where, sizeof(where), ": block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `", block[0],
             block[1], block[2], thread[0], thread[1], thread[2]);
    return append_string(reader, file, text) && text_append(text, number, strlen(number)) &&
           append_string(reader, function, text) && text_append(text, where, strlen(where)) &&
           append_string(reader, message, text) && text_append(text, "` failed.\n", 10);
}
