/* transport/loop/pipe.h -- one direction of a loop: bytes that arrive later
 *
 * The reader polls a timer that fires when the first waiting byte is due; the writer polls an
 * event that is set while there is room. So even an injected delay looks like any other
 * descriptor to the lane above. Private to transport/loop.
 */
#ifndef TP_LOOP_PIPE_H
#define TP_LOOP_PIPE_H

#include "protocol/base/status.h"
#include "transport/loop/loop.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct tp_pipe_piece {
    struct tp_pipe_piece *next;
    uint64_t due_ns;
    size_t len, at;
    uint8_t data[];
};

struct tp_pipe {
    /* Set once. */
    struct tp_loop_faults faults;
    int due_fd;  /* timerfd: readable when a read would do something */
    int room_fd; /* eventfd: readable while a write would take something */

    pthread_mutex_t lock; /* a leaf; guards what follows */
    struct tp_pipe_piece *first, *last;
    size_t held;       /* bytes in the pieces */
    uint64_t written;  /* in all */
    bool closed;       /* the writer said the end */
    bool room;         /* what room_fd shows */
    uint64_t armed_ns; /* what due_fd waits for; 0: nothing */
    bool broken;       /* the line is cut: nothing more goes in */
};

GP_CHECK enum gp_status tp_pipe_init(struct tp_pipe *pipe, const struct tp_loop_faults *faults);
void tp_pipe_fini(struct tp_pipe *pipe);

/* Never wait. As struct tp_stream_ops has them; a cut is GP_ERR_IO once its bytes are read. */
GP_CHECK enum gp_status tp_pipe_read(struct tp_pipe *pipe, const struct iovec *iov, int iovcnt,
                                     size_t *got_p);
GP_CHECK enum gp_status tp_pipe_write(struct tp_pipe *pipe, const struct iovec *iov, int iovcnt,
                                      size_t *put_p);
void tp_pipe_close(struct tp_pipe *pipe); /* the writer's end */
void tp_pipe_break(struct tp_pipe *pipe); /* either side */

#endif
