/* transport/loop/pipe.c */
#include "transport/loop/pipe.h"

#include "protocol/base/clock.h"
#include "protocol/base/log.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#define WINDOW_DEFAULT (256u << 10)

enum gp_status
tp_pipe_init(struct tp_pipe *pipe, const struct tp_loop_faults *faults)
{
    *pipe = (struct tp_pipe){.faults = faults != NULL ? *faults : (struct tp_loop_faults){0}};
    pipe->room = true;
    if (pipe->faults.window_bytes == 0)
        pipe->faults.window_bytes = WINDOW_DEFAULT;
    pipe->due_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    pipe->room_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pipe->due_fd < 0 || pipe->room_fd < 0) {
        log_error("loop: descriptors: %m");
        if (pipe->due_fd >= 0)
            close(pipe->due_fd);
        return GP_ERR_LIMIT;
    }
    pthread_mutex_init(&pipe->lock, NULL);
    return GP_OK;
}

void
tp_pipe_fini(struct tp_pipe *pipe)
{
    struct tp_pipe_piece *piece, *next;

    for (piece = pipe->first; piece != NULL; piece = next) {
        next = piece->next;
        free(piece);
    }
    close(pipe->due_fd);
    close(pipe->room_fd);
    pthread_mutex_destroy(&pipe->lock);
}

/* The timer fires when the first piece is due, or at once when an end is to be seen. Lock held. */
static void
set_due(struct tp_pipe *pipe)
{
    struct itimerspec when = {0};
    uint64_t ns = 0;

    if (pipe->first != NULL)
        ns = pipe->first->due_ns;
    else if (pipe->closed || pipe->broken)
        ns = 1; /* long past; 0 would disarm */
    if (ns == pipe->armed_ns)
        return;
    pipe->armed_ns = ns;
    when.it_value = gp_timespec(ns);
    if (timerfd_settime(pipe->due_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        log_error("loop: timerfd: %m");
}

/* Lock held. */
static void
set_room(struct tp_pipe *pipe)
{
    bool room = pipe->held < pipe->faults.window_bytes || pipe->broken || pipe->closed;
    uint64_t count = 1;
    ssize_t rc;

    if (room == pipe->room)
        return;
    pipe->room = room;
    /* Non-blocking in both directions: fails only if it is as we want it already. */
    rc = room ? write(pipe->room_fd, &count, sizeof(count))
              : read(pipe->room_fd, &count, sizeof(count));
    (void)rc;
}

/* Copy out of the pieces that are due. Lock held. */
static size_t
take(struct tp_pipe *pipe, const struct iovec *iov, int iovcnt, size_t most)
{
    uint64_t now = gp_now_ns();
    size_t total = 0, at = 0;
    int i = 0;

    while (i < iovcnt && total < most && pipe->first != NULL && pipe->first->due_ns <= now) {
        struct tp_pipe_piece *piece = pipe->first;
        size_t n =
            gp_min_u64(gp_min_u64(iov[i].iov_len - at, piece->len - piece->at), most - total);

        memcpy((char *)iov[i].iov_base + at, piece->data + piece->at, n);
        piece->at += n;
        at += n;
        total += n;
        if (piece->at == piece->len) {
            pipe->first = piece->next;
            free(piece);
        }
        if (at == iov[i].iov_len) {
            i++;
            at = 0;
        }
    }
    if (pipe->first == NULL)
        pipe->last = NULL;
    pipe->held -= total;
    return total;
}

enum gp_status
tp_pipe_read(struct tp_pipe *pipe, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    size_t most = pipe->faults.read_max != 0 ? pipe->faults.read_max : SIZE_MAX;
    enum gp_status status = GP_OK;
    size_t got;

    pthread_mutex_lock(&pipe->lock);
    got = take(pipe, iov, iovcnt, most);
    if (got > 0) {
        *got_p = got;
        set_due(pipe);
        set_room(pipe);
    } else if (pipe->first != NULL) {
        status = GP_ERR_AGAIN; /* not due yet */
    } else {
        status = pipe->broken ? GP_ERR_IO : pipe->closed ? GP_ERR_CLOSED : GP_ERR_AGAIN;
    }
    pthread_mutex_unlock(&pipe->lock);
    return status;
}

static struct tp_pipe_piece *
piece_create(const struct iovec *iov, int iovcnt, size_t bytes)
{
    struct tp_pipe_piece *piece = malloc(sizeof(*piece) + bytes);
    size_t used = 0;

    if (piece == NULL)
        return NULL;
    *piece = (struct tp_pipe_piece){.len = bytes};
    for (int i = 0; i < iovcnt && used < bytes; i++) {
        size_t n = gp_min_u64(iov[i].iov_len, bytes - used);

        memcpy(piece->data + used, iov[i].iov_base, n);
        used += n;
    }
    return piece;
}

/* How many of wanted bytes may go in now. Lock held. */
static size_t
admit(const struct tp_pipe *pipe, size_t wanted)
{
    size_t n = gp_min_u64(wanted, pipe->faults.window_bytes - pipe->held);

    if (pipe->faults.write_max != 0)
        n = gp_min_u64(n, pipe->faults.write_max);
    if (pipe->faults.cut)
        n = gp_min_u64(n, pipe->faults.cut_after - pipe->written);
    return n;
}

/* Lock held. */
static enum gp_status
put(struct tp_pipe *pipe, const struct iovec *iov, int iovcnt, size_t n)
{
    struct tp_pipe_piece *piece = piece_create(iov, iovcnt, n);

    if (piece == NULL)
        return GP_ERR_NO_MEMORY;
    piece->due_ns = gp_now_ns() + pipe->faults.delay_ns;
    if (pipe->last != NULL)
        pipe->last->next = piece;
    else
        pipe->first = piece;
    pipe->last = piece;
    pipe->held += n;
    pipe->written += n;
    return GP_OK;
}

enum gp_status
tp_pipe_write(struct tp_pipe *pipe, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    enum gp_status status = GP_OK;
    size_t wanted = 0, n = 0;

    for (int i = 0; i < iovcnt; i++)
        wanted += iov[i].iov_len;

    pthread_mutex_lock(&pipe->lock);
    if (pipe->faults.cut && pipe->written == pipe->faults.cut_after)
        pipe->broken = true;
    if (!pipe->broken && !pipe->closed)
        n = admit(pipe, wanted);
    if (pipe->broken || pipe->closed)
        status = GP_ERR_IO;
    else if (n == 0)
        status = GP_ERR_AGAIN;
    else
        status = put(pipe, iov, iovcnt, n);
    if (status == GP_OK)
        *put_p = n;
    if (pipe->faults.cut && pipe->written == pipe->faults.cut_after)
        pipe->broken = true; /* the reader sees it without another write */
    set_due(pipe);
    set_room(pipe);
    pthread_mutex_unlock(&pipe->lock);
    return status;
}

void
tp_pipe_close(struct tp_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    pipe->closed = true;
    set_due(pipe);
    set_room(pipe);
    pthread_mutex_unlock(&pipe->lock);
}

void
tp_pipe_break(struct tp_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    pipe->broken = true;
    set_due(pipe);
    set_room(pipe);
    pthread_mutex_unlock(&pipe->lock);
}
