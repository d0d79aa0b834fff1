/* transport/loop/loop.c */
#include "transport/loop/loop.h"

#include "transport/loop/pipe.h"
#include "transport/stream.h"

#include <stdio.h>

/* Both pipes, shared by the two lanes. */
struct loop {
    struct tp_pipe pipes[2];
    atomic_int users; /* acq_rel: the last one frees what the other used */
};

struct loop_lane {
    struct tp_stream s; /* first */
    struct loop *loop;
    struct tp_pipe *in, *out;
};

static struct loop_lane *
loop_of(struct tp_stream *s)
{
    return (struct loop_lane *)s;
}

static enum gp_status
loop_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    return tp_pipe_read(loop_of(s)->in, iov, iovcnt, got_p);
}

static enum gp_status
loop_write(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    return tp_pipe_write(loop_of(s)->out, iov, iovcnt, put_p);
}

/* As shutdown(2): no more goes out or comes in, what has gone out still arrives. */
static void
loop_shutdown(struct tp_stream *s)
{
    tp_pipe_close(loop_of(s)->out);
    tp_pipe_break(loop_of(s)->in);
}

static void
loop_finish(struct tp_stream *s)
{
    tp_pipe_close(loop_of(s)->out);
}

static void
loop_destroy(struct tp_stream *s)
{
    struct loop *loop = loop_of(s)->loop;

    tp_pipe_close(loop_of(s)->out);
    tp_pipe_break(loop_of(s)->in); /* nobody reads it any more */
    if (atomic_fetch_sub_explicit(&loop->users, 1, memory_order_acq_rel) == 1) {
        tp_pipe_fini(&loop->pipes[0]);
        tp_pipe_fini(&loop->pipes[1]);
        free(loop);
    }
}

static void
loop_abandon(struct tp_stream *s)
{
    (void)s; /* a copy of the pair after fork leads nowhere */
}

static const struct tp_stream_ops loop_bytes = {
    .read = loop_read,
    .write = loop_write,
    .shutdown = loop_shutdown,
    .finish = loop_finish,
    .destroy = loop_destroy,
    .abandon = loop_abandon,
};

static const struct tp_ops loop_ops = {
    .scheme = "loop",
    .caps = TP_CAP_LOCAL | TP_CAP_POLL,
    TP_STREAM_OPS,
};

static enum gp_status
lane_create(struct loop *loop, int side, const struct tp_opts *opts, struct loop_lane **lane_p)
{
    struct loop_lane *lane = calloc(1, sizeof(*lane));
    enum gp_status status;

    if (lane == NULL)
        return GP_ERR_NO_MEMORY;
    status = tp_stream_init(&lane->s, &loop_ops, &loop_bytes, opts);
    if (status != GP_OK) {
        free(lane);
        return status;
    }
    lane->loop = loop;
    lane->out = &loop->pipes[side];
    lane->in = &loop->pipes[1 - side];
    lane->s.read_fd = lane->in->due_fd;
    lane->s.write_fd = lane->out->room_fd;
    lane->s.write_events = POLLIN;
    snprintf(lane->s.lane.peer.address, sizeof(lane->s.lane.peer.address), "loop");
    *lane_p = lane;
    return GP_OK;
}

static enum gp_status
pipes_create(const struct tp_loop_faults faults[2], struct loop **loop_p)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    enum gp_status status;

    if (loop == NULL)
        return GP_ERR_NO_MEMORY;
    status = tp_pipe_init(&loop->pipes[0], faults != NULL ? &faults[0] : NULL);
    if (status != GP_OK)
        goto err_free;
    status = tp_pipe_init(&loop->pipes[1], faults != NULL ? &faults[1] : NULL);
    if (status != GP_OK)
        goto err_first;
    atomic_init(&loop->users, 2);
    *loop_p = loop;
    return GP_OK;

err_first:
    tp_pipe_fini(&loop->pipes[0]);
err_free:
    free(loop);
    return status;
}

enum gp_status
tp_loop_pair(const struct tp_opts *opts, const struct tp_loop_faults faults[2],
             struct tp_lane **a_p, struct tp_lane **b_p)
{
    struct loop_lane *a, *b;
    struct loop *loop;
    enum gp_status status;

    if (opts->framing == NULL)
        return tp_fail(opts, GP_ERR_INVALID, "loop: no framing given");
    status = pipes_create(faults, &loop);
    if (status != GP_OK)
        return status;
    status = lane_create(loop, 0, opts, &a);
    if (status != GP_OK)
        goto err_pipes;
    status = lane_create(loop, 1, opts, &b);
    if (status != GP_OK)
        goto err_a;
    *a_p = &a->s.lane;
    *b_p = &b->s.lane;
    return GP_OK;

err_a:
    tp_stream_fini(&a->s);
    free(a);
err_pipes:
    tp_pipe_fini(&loop->pipes[0]);
    tp_pipe_fini(&loop->pipes[1]);
    free(loop);
    return status;
}
