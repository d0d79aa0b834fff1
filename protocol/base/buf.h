/* protocol/base/buf.h -- a growing row of bytes
 *
 * Failure is sticky: once memory ran out or the limit was reached, further appends do nothing and
 * gp_buf_status() tells, so that a writer checks once at the end.
 * Threads: one at a time.
 */
#ifndef GP_BUF_H
#define GP_BUF_H

#include "protocol/base/status.h"
#include "protocol/base/util.h"

#include <stddef.h>
#include <stdint.h>

struct gp_buf {
    uint8_t *data; /* owned; moves when the buffer grows */
    size_t len;
    size_t cap;
    size_t limit; /* len never exceeds it; 0: no limit */
    enum gp_status status;
};

/* A zeroed struct is an empty buffer too. */
void gp_buf_init(struct gp_buf *buf, size_t limit);
void gp_buf_fini(struct gp_buf *buf);
/* Empty again, memory kept, failure forgotten. */
void gp_buf_reset(struct gp_buf *buf);

/* Make room for bytes more and return where they go, without counting them; NULL on failure. */
uint8_t *gp_buf_reserve(struct gp_buf *buf, size_t bytes);
void gp_buf_append(struct gp_buf *buf, const void *data, size_t bytes);
void gp_buf_append_text(struct gp_buf *buf, const char *text);
void gp_buf_printf(struct gp_buf *buf, const char *fmt, ...) GP_PRINTF(2, 3);
/* Drop bytes from the front. */
void gp_buf_consume(struct gp_buf *buf, size_t bytes);

/* GP_OK, GP_ERR_NO_MEMORY or GP_ERR_LIMIT. */
GP_CHECK enum gp_status gp_buf_status(const struct gp_buf *buf);

static inline void
gp_auto_buf(struct gp_buf *buf)
{
    gp_buf_fini(buf);
}

#define GP_AUTO_BUF __attribute__((cleanup(gp_auto_buf)))

#endif
