/* protocol/base/buf.c */
#include "protocol/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
gp_buf_init(struct gp_buf *buf, size_t limit)
{
    *buf = (struct gp_buf){.limit = limit};
}

void
gp_buf_fini(struct gp_buf *buf)
{
    free(buf->data);
    *buf = (struct gp_buf){.limit = buf->limit};
}

void
gp_buf_reset(struct gp_buf *buf)
{
    buf->len = 0;
    buf->status = GP_OK;
}

static size_t
grown(size_t cap, size_t need)
{
    size_t next = cap < 64 ? 64 : cap;

    while (next < need)
        next = next > SIZE_MAX / 2 ? need : next * 2;
    return next;
}

uint8_t *
gp_buf_reserve(struct gp_buf *buf, size_t bytes)
{
    size_t limit = buf->limit != 0 ? buf->limit : SIZE_MAX;
    uint8_t *data;
    size_t cap;

    if (buf->status != GP_OK)
        return NULL;
    if (bytes > limit - buf->len) {
        buf->status = GP_ERR_LIMIT;
        return NULL;
    }
    if (buf->data != NULL && buf->cap - buf->len >= bytes)
        return buf->data + buf->len;

    cap = grown(buf->cap, buf->len + bytes);
    data = realloc(buf->data, cap);
    if (data == NULL) {
        buf->status = GP_ERR_NO_MEMORY;
        return NULL;
    }
    buf->data = data;
    buf->cap = cap;
    return data + buf->len;
}

void
gp_buf_append(struct gp_buf *buf, const void *data, size_t bytes)
{
    uint8_t *to = gp_buf_reserve(buf, bytes);

    if (to == NULL || bytes == 0)
        return;
    memcpy(to, data, bytes);
    buf->len += bytes;
}

void
gp_buf_append_text(struct gp_buf *buf, const char *text)
{
    gp_buf_append(buf, text, strlen(text));
}

void
gp_buf_printf(struct gp_buf *buf, const char *fmt, ...)
{
    va_list ap;
    uint8_t *to;
    int bytes;

    va_start(ap, fmt);
    bytes = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (bytes < 0)
        return;

    to = gp_buf_reserve(buf, (size_t)bytes + 1); /* vsnprintf ends with a 0 that is not counted */
    if (to == NULL)
        return;
    va_start(ap, fmt);
    vsnprintf((char *)to, (size_t)bytes + 1, fmt, ap);
    va_end(ap);
    buf->len += (size_t)bytes;
}

void
gp_buf_consume(struct gp_buf *buf, size_t bytes)
{
    if (bytes > buf->len)
        bytes = buf->len;
    if (bytes != 0)
        memmove(buf->data, buf->data + bytes, buf->len - bytes);
    buf->len -= bytes;
}

enum gp_status
gp_buf_status(const struct gp_buf *buf)
{
    return buf->status;
}
