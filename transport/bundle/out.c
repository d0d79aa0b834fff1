/* transport/bundle/out.c -- which lane takes what is sent */
#include "transport/bundle/bundle_priv.h"

#include "transport/walk.h"

#include <string.h>

/* Shorter writes go by the main lane, without another thread's wake-up. */
#define LONG_BYTES (64u << 10)

static bool
blocked(const struct tp_bundle *b)
{
    return b->left_at < b->leaving.len;
}

static enum gp_status
push_main(struct tp_bundle *b)
{
    const struct tp_stream_ops *bytes = b->main->bytes;

    while (blocked(b)) {
        struct iovec iov = {b->leaving.data + b->left_at, b->leaving.len - b->left_at};
        size_t put;
        enum gp_status status = bytes->write(b->main, &iov, 1, &put);

        if (status != GP_OK)
            return status;
        b->left_at += put;
    }
    gp_buf_reset(&b->leaving);
    b->left_at = 0;
    return bytes->flush != NULL ? bytes->flush(b->main) : GP_OK;
}

/* Bytes of iov behind the header of a run, bytes at most. */
static uint32_t
run_make(struct tp_bundle *b, const struct iovec *iov, int iovcnt, size_t bytes, uint8_t *to)
{
    struct tp_iov_walk walk = {.iov = iov, .left = iovcnt};
    size_t done = 0, n;
    uint8_t *piece;

    while ((n = tp_iov_next(&walk, bytes - done, &piece)) > 0 && done < bytes) {
        memcpy(to + TP_RUN_HEADER_BYTES + done, piece, n);
        done += n;
    }
    tp_run_encode(b->out_at, (uint32_t)done, to);
    b->out_at += done;
    return (uint32_t)done;
}

static struct tp_way *
way_with_room(struct tp_bundle *b, struct tp_run **run_p)
{
    for (unsigned i = 0; i < b->way_count; i++) {
        struct tp_way *way = &b->ways[(b->next_way + i) % b->way_count];

        *run_p = tp_runs_room(&way->out);
        if (*run_p != NULL) {
            b->next_way = (b->next_way + i + 1) % b->way_count;
            return way;
        }
    }
    return NULL;
}

static enum gp_status
write_main(struct tp_bundle *b, const struct iovec *iov, int iovcnt, size_t bytes, size_t *put_p)
{
    uint8_t *to = gp_buf_reserve(&b->leaving, TP_RUN_HEADER_BYTES + bytes);
    enum gp_status status;

    if (to == NULL)
        return GP_ERR_NO_MEMORY;
    *put_p = run_make(b, iov, iovcnt, bytes, to);
    b->leaving.len += TP_RUN_HEADER_BYTES + *put_p;
    status = push_main(b);
    return status == GP_ERR_AGAIN ? GP_OK : status; /* taken; the next write or flush goes on */
}

enum gp_status
tp_bundle_write(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    struct tp_bundle *b = (struct tp_bundle *)s;
    enum gp_status status = tp_bundle_failed(b);
    struct tp_way *way = NULL;
    struct tp_run *run;
    size_t bytes = 0;

    if (status == GP_OK)
        status = push_main(b);
    if (status != GP_OK && status != GP_ERR_AGAIN)
        return status;
    for (int i = 0; i < iovcnt && bytes < TP_RUN_BYTES_MAX; i++)
        bytes += gp_min_u64(iov[i].iov_len, TP_RUN_BYTES_MAX - bytes);
    if (bytes >= LONG_BYTES || status == GP_ERR_AGAIN)
        way = way_with_room(b, &run);
    if (way == NULL && status == GP_ERR_AGAIN) {
        tp_bundle_quiet(b->room_fd); /* before the last look, so that no signal is missed */
        way = way_with_room(b, &run);
        if (way == NULL)
            return tp_bundle_failed(b) != GP_OK ? tp_bundle_failed(b) : GP_ERR_AGAIN;
    }
    if (way == NULL)
        return write_main(b, iov, iovcnt, bytes, put_p);
    run->bytes = run_make(b, iov, iovcnt, bytes, run->data);
    *put_p = run->bytes;
    tp_runs_filled(&way->out);
    return GP_OK;
}

enum gp_status
tp_bundle_flush(struct tp_stream *s)
{
    struct tp_bundle *b = (struct tp_bundle *)s;
    enum gp_status status;

    tp_bundle_quiet(b->room_fd);
    status = tp_bundle_failed(b);
    return status != GP_OK ? status : push_main(b);
}
