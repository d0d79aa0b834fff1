/* transport/bundle/way.c -- a further lane of a bundle and its two threads */
#include "transport/bundle/bundle_priv.h"

#include "protocol/base/log.h"
#include "protocol/base/util.h"

#include <signal.h>
#include <string.h>

void
tp_run_encode(uint64_t at, uint32_t bytes, uint8_t header[TP_RUN_HEADER_BYTES])
{
    memset(header, 0, TP_RUN_HEADER_BYTES);
    for (unsigned i = 0; i < 8; i++)
        header[i] = (uint8_t)(at >> (8 * i));
    for (unsigned i = 0; i < 4; i++)
        header[8 + i] = (uint8_t)(bytes >> (8 * i));
}

enum gp_status
tp_run_decode(const uint8_t header[TP_RUN_HEADER_BYTES], uint64_t end, uint64_t *at_p,
              uint32_t *bytes_p)
{
    uint64_t at = 0, bytes = 0, zeros = 0;

    for (unsigned i = 0; i < 8; i++)
        at |= (uint64_t)header[i] << (8 * i);
    for (unsigned i = 0; i < 4; i++) {
        bytes |= (uint64_t)header[8 + i] << (8 * i);
        zeros |= header[12 + i];
    }
    if (at < end || bytes == 0 || bytes > TP_RUN_BYTES_MAX || zeros != 0 || at > UINT64_MAX - bytes)
        return GP_ERR_PROTOCOL;
    *at_p = at;
    *bytes_p = (uint32_t)bytes;
    return GP_OK;
}

enum gp_status
tp_way_take(struct tp_stream *lane, void *to, size_t bytes, size_t *got_p)
{
    struct iovec iov[2] = {{to, bytes}, {lane->buf, TP_STREAM_BUFFER}};
    enum gp_status status;

    if (lane->head < lane->tail) {
        *got_p = gp_min_u64(bytes, lane->tail - lane->head);
        memcpy(to, lane->buf + lane->head, *got_p);
        lane->head += *got_p;
        return GP_OK;
    }
    status = lane->bytes->read(lane, iov, 2, got_p);
    if (status != GP_OK)
        return status;
    lane->head = 0;
    lane->tail = *got_p > bytes ? *got_p - bytes : 0;
    *got_p = gp_min_u64(*got_p, bytes);
    return GP_OK;
}

/* -- a row of runs --------------------------------------------------------------------------------
 */

struct tp_run *
tp_runs_room(struct tp_runs *runs)
{
    struct tp_run *run = NULL;

    pthread_mutex_lock(&runs->lock);
    if (runs->count < TP_RUNS)
        run = &runs->runs[(runs->head + runs->count) % TP_RUNS];
    pthread_mutex_unlock(&runs->lock);
    return run;
}

void
tp_runs_filled(struct tp_runs *runs)
{
    pthread_mutex_lock(&runs->lock);
    runs->count++;
    pthread_mutex_unlock(&runs->lock);
    pthread_cond_broadcast(&runs->changed);
}

struct tp_run *
tp_runs_next(struct tp_runs *runs)
{
    struct tp_run *run = NULL;

    pthread_mutex_lock(&runs->lock);
    if (runs->count > 0)
        run = &runs->runs[runs->head];
    pthread_mutex_unlock(&runs->lock);
    return run;
}

void
tp_runs_emptied(struct tp_runs *runs)
{
    pthread_mutex_lock(&runs->lock);
    runs->head = (runs->head + 1) % TP_RUNS;
    runs->count--;
    pthread_mutex_unlock(&runs->lock);
    pthread_cond_broadcast(&runs->changed);
}

static bool
stopping(const struct tp_way *way)
{
    return atomic_load_explicit(&way->bundle->stopping, memory_order_relaxed);
}

/* Wait until there is something to do here: with filled, a run; else, room for one. */
static struct tp_run *
await_run(struct tp_way *way, struct tp_runs *runs, bool filled)
{
    struct tp_run *run = NULL;

    pthread_mutex_lock(&runs->lock);
    while (!stopping(way) && (filled ? runs->count == 0 : runs->count == TP_RUNS))
        pthread_cond_wait(&runs->changed, &runs->lock);
    if (!stopping(way))
        run = &runs->runs[(runs->head + (filled ? 0 : runs->count)) % TP_RUNS];
    pthread_mutex_unlock(&runs->lock);
    return run;
}

/* GP_ERR_AGAIN once the bundle ends. */
static enum gp_status
await_line(struct tp_way *way, int fd, short events)
{
    struct pollfd p[2] = {{.fd = fd, .events = events},
                          {.fd = way->bundle->stop_fd, .events = POLLIN}};

    (void)poll(p, 2, -1);
    return stopping(way) ? GP_ERR_AGAIN : GP_OK;
}

/* -- sending --------------------------------------------------------------------------------------
 */

static enum gp_status
send_run(struct tp_way *way, const struct tp_run *run)
{
    struct tp_stream *lane = way->lane;
    struct iovec iov = {run->data, TP_RUN_HEADER_BYTES + run->bytes};
    enum gp_status status = GP_OK;
    size_t put;

    while (status == GP_OK && iov.iov_len > 0) {
        status = lane->bytes->write(lane, &iov, 1, &put);
        if (status == GP_OK) {
            iov.iov_base = (uint8_t *)iov.iov_base + put;
            iov.iov_len -= put;
        } else if (status == GP_ERR_AGAIN) {
            status = await_line(way, lane->write_fd, POLLOUT);
        }
    }
    while (status == GP_OK && lane->bytes->flush != NULL) {
        status = lane->bytes->flush(lane);
        if (status == GP_OK)
            break;
        if (status == GP_ERR_AGAIN)
            status = await_line(way, lane->write_fd, POLLOUT);
    }
    return status;
}

static void
send_all(struct tp_way *way)
{
    enum gp_status status = GP_OK;
    struct tp_run *run;

    while (status == GP_OK && (run = await_run(way, &way->out, true)) != NULL) {
        status = send_run(way, run);
        if (status == GP_OK) {
            tp_runs_emptied(&way->out);
            tp_bundle_signal(way->bundle->room_fd);
        }
    }
    if (status != GP_OK && status != GP_ERR_AGAIN)
        tp_bundle_fail(way->bundle, status);
}

/* -- receiving ------------------------------------------------------------------------------------
 */

static enum gp_status
take_all(struct tp_way *way, uint8_t *to, size_t bytes)
{
    enum gp_status status = GP_OK;
    size_t done = 0, got;

    while (status == GP_OK && done < bytes) {
        status = tp_way_take(way->lane, to + done, bytes - done, &got);
        if (status == GP_OK)
            done += got;
        else if (status == GP_ERR_AGAIN)
            status = await_line(way, way->lane->read_fd, POLLIN);
    }
    return status == GP_ERR_CLOSED && done > 0 ? GP_ERR_IO : status;
}

static enum gp_status
receive_run(struct tp_way *way, struct tp_run *run)
{
    uint8_t header[TP_RUN_HEADER_BYTES];
    enum gp_status status = take_all(way, header, sizeof(header));

    if (status == GP_OK) {
        status = tp_run_decode(header, way->in_end, &run->at, &run->bytes);
        if (status != GP_OK)
            log_warn("lane %s: a further connection brings what is no run of ours",
                     way->bundle->s.lane.peer.address);
    }
    if (status != GP_OK)
        return status;
    run->taken = 0;
    way->in_end = run->at + run->bytes;
    status = take_all(way, run->data, run->bytes);
    return status == GP_ERR_CLOSED ? GP_ERR_IO : status;
}

static void
receive_all(struct tp_way *way)
{
    enum gp_status status = GP_OK;
    struct tp_run *run;

    while (status == GP_OK && (run = await_run(way, &way->in, false)) != NULL) {
        status = receive_run(way, run);
        if (status == GP_OK) {
            tp_runs_filled(&way->in);
            tp_bundle_signal(way->bundle->come_fd);
        }
    }
    if (status == GP_ERR_CLOSED) {
        atomic_store_explicit(&way->ended, true, memory_order_release);
        tp_bundle_signal(way->bundle->come_fd);
    } else if (status != GP_OK && status != GP_ERR_AGAIN) {
        tp_bundle_fail(way->bundle, status);
    }
}

/* -- threads --------------------------------------------------------------------------------------
 */

/* The last thing a thread does with the bundle. */
static void
leave(struct tp_bundle *b)
{
    pthread_mutex_lock(&b->lock);
    b->threads--;
    pthread_cond_broadcast(&b->halted);
    pthread_mutex_unlock(&b->lock);
}

static void *
send_main(void *arg)
{
    struct tp_way *way = arg;

    send_all(way);
    leave(way->bundle);
    return NULL;
}

static void *
receive_main(void *arg)
{
    struct tp_way *way = arg;

    receive_all(way);
    leave(way->bundle);
    return NULL;
}

/* Detached: a program that ends leaves its line as it is. */
static bool
thread_start(void *(*fn)(void *), struct tp_way *way)
{
    struct tp_bundle *b = way->bundle;
    sigset_t all, before;
    pthread_t thread;
    int rc;

    pthread_mutex_lock(&b->lock);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a program's signals are not for us */
    rc = pthread_create(&thread, NULL, fn, way);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        log_error("bundle: no thread: %s", strerror(rc));
    } else {
        b->threads++;
        (void)pthread_setname_np(thread, "gpupool-way");
        (void)pthread_detach(thread);
    }
    pthread_mutex_unlock(&b->lock);
    return rc == 0;
}

enum gp_status
tp_way_start(struct tp_way *way)
{
    return thread_start(send_main, way) && thread_start(receive_main, way) ? GP_OK
                                                                           : GP_ERR_NO_MEMORY;
}

/* Under the lock, or who is about to wait misses it. */
static void
wake(struct tp_runs *runs)
{
    pthread_mutex_lock(&runs->lock);
    pthread_cond_broadcast(&runs->changed);
    pthread_mutex_unlock(&runs->lock);
}

void
tp_way_wake(struct tp_way *way)
{
    wake(&way->out);
    wake(&way->in);
}
