/* transport/tls/bio.c -- between OpenSSL and the socket
 *
 * What OpenSSL writes is only collected: many records leave in one system call, in nobody's turn.
 * What it reads comes first from a small buffer that was filled in nobody's turn (the look
 * that waiting and spinning do), then, for bulk, straight from the socket.
 */
#include "protocol/base/log.h"
#include "transport/tls/tls_priv.h"

#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include <sys/socket.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Written under once, then read-only. */
static BIO_METHOD *method;

/* Note how a receive went. Bytes, or 0 with drained or ended set. */
static size_t
receive(struct tls_lane *t, void *to, size_t bytes, int flags)
{
    ssize_t got = recv(t->fd, to, bytes, MSG_DONTWAIT | flags);

    if (got > 0) {
        t->drained = (size_t)got < bytes;
        return (size_t)got;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        t->drained = true;
        return 0;
    }
    t->ended = true;
    t->in_error = got < 0 ? errno : 0;
    return 0;
}

enum gp_status
tp_tls_look(struct tls_lane *t)
{
    if (t->in_head < t->in_tail || t->ended)
        return t->ended ? GP_ERR_CLOSED : GP_OK;
    t->in_head = t->in_tail = 0;
    if (t->exact) {
        if (receive(t, t->in, 1, MSG_PEEK) > 0)
            return GP_OK;
    } else {
        t->in_tail = receive(t, t->in, TP_TLS_LOOK_BYTES, 0);
        if (t->in_tail > 0)
            return GP_OK;
    }
    return t->ended ? GP_ERR_CLOSED : GP_ERR_AGAIN;
}

static int
bio_read(BIO *bio, char *to, size_t bytes, size_t *got_p)
{
    struct tls_lane *t = BIO_get_data(bio);
    size_t n = t->in_tail - t->in_head;

    BIO_clear_retry_flags(bio);
    if (n > 0) {
        n = gp_min_u64(n, bytes);
        memcpy(to, t->in + t->in_head, n);
        t->in_head += n;
    } else if (!t->drained && !t->ended) {
        n = receive(t, to, bytes, 0);
    }
    *got_p = n;
    if (n == 0 && !t->ended)
        BIO_set_retry_read(bio);
    return n > 0;
}

static int
bio_write(BIO *bio, const char *from, size_t bytes, size_t *put_p)
{
    struct tls_lane *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    gp_buf_append(&t->out, from, bytes);
    if (gp_buf_status(&t->out) != GP_OK)
        return 0;
    *put_p = bytes;
    return 1;
}

static long
bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    const struct tls_lane *t = BIO_get_data(bio);

    (void)num;
    (void)ptr;
    if (cmd == BIO_CTRL_EOF)
        return t->ended && t->in_head == t->in_tail;
    return cmd == BIO_CTRL_FLUSH;
}

static void
make_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "gpupool lane");

    if (m == NULL)
        return;
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    method = m;
}

enum gp_status
tp_tls_attach(struct tls_lane *t)
{
    BIO *bio;

    pthread_once(&once, make_method);
    bio = method != NULL ? BIO_new(method) : NULL;
    if (bio == NULL)
        return GP_ERR_NO_MEMORY;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio); /* one reference serves both directions */
    return GP_OK;
}

enum gp_status
tp_tls_send_leaving(struct tls_lane *t)
{
    while (t->left_at < t->leaving.len) {
        ssize_t put = send(t->fd, t->leaving.data + t->left_at, t->leaving.len - t->left_at,
                           MSG_DONTWAIT | MSG_NOSIGNAL);

        if (put < 0 && (errno == EAGAIN || errno == EINTR))
            return GP_ERR_AGAIN;
        if (put < 0) {
            if (!t->finishing)
                log_info("lane %s: send: %m", t->s.lane.peer.address);
            return GP_ERR_IO;
        }
        t->left_at += (size_t)put;
    }
    gp_buf_reset(&t->leaving);
    t->left_at = 0;
    return GP_OK;
}

void
tp_tls_take_out(struct tls_lane *t)
{
    struct gp_buf empty = t->leaving;

    t->leaving = t->out;
    t->out = empty;
}

enum gp_status
tp_tls_push(struct tls_lane *t)
{
    enum gp_status status = tp_tls_send_leaving(t);

    while (status == GP_OK && t->out.len > 0) {
        tp_tls_take_out(t);
        status = tp_tls_send_leaving(t);
    }
    return status;
}
