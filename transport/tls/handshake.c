/* transport/tls/handshake.c -- shake hands within a deadline */
#include "transport/tls/failure.h"
#include "transport/tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

static enum gp_status
failed(struct tls_lane *t, const struct tp_opts *opts)
{
    char text[TP_WHY_BYTES];
    enum gp_status status =
        tp_tls_explain(t->ssl, t->role, t->name[0] != '\0' ? t->name : NULL, t->ended, true, text);

    /* Our alert tells the peer; whether it still gets it changes nothing here. */
    if (tp_tls_push(t) == GP_ERR_AGAIN)
        status = status == GP_OK ? GP_ERR_IO : status;
    return tp_fail(opts, status, "tls %s: %.250s", t->s.lane.peer.address, text);
}

static enum gp_status
timed_out(struct tls_lane *t, const struct tp_opts *opts)
{
    return tp_fail(opts, GP_ERR_TIMEOUT, "tls %s: no complete TLS handshake in time: %s",
                   t->s.lane.peer.address,
                   t->role == TP_SERVER ? "the client is silent or slow, dropped"
                                        : "check that gpupoold answers there");
}

/* Sleep until the socket has something, or can take something if we have. */
static enum gp_status
await(struct tls_lane *t, bool sending, uint64_t deadline_ns)
{
    struct pollfd p = {.fd = t->fd, .events = (short)(POLLIN | (sending ? POLLOUT : 0))};
    uint64_t now = gp_now_ns();
    int rc;

    if (now >= deadline_ns)
        return GP_ERR_TIMEOUT;
    rc = poll(&p, 1, gp_deadline_poll_ms(now, deadline_ns));
    if (rc == 0)
        return GP_ERR_TIMEOUT;
    return rc < 0 && errno != EINTR ? GP_ERR_IO : GP_OK;
}

enum gp_status
tp_tls_handshake(struct tls_lane *t, const struct tp_opts *opts)
{
    enum gp_status push, status;
    int rc;

    for (;;) {
        ERR_clear_error();
        rc = SSL_do_handshake(t->ssl);
        if (rc != 1 && SSL_get_error(t->ssl, rc) != SSL_ERROR_WANT_READ)
            return failed(t, opts);
        push = tp_tls_push(t);
        if (push != GP_OK && push != GP_ERR_AGAIN)
            return tp_fail(opts, push, "tls %s: the peer went away during the handshake",
                           t->s.lane.peer.address);
        if (rc == 1 && push == GP_OK)
            return GP_OK;
        /* A look that finds the end lets OpenSSL find it too, and us explain it. */
        if (rc != 1 && push == GP_OK && tp_tls_look(t) != GP_ERR_AGAIN)
            continue;
        status = await(t, push == GP_ERR_AGAIN, opts->deadline_ns);
        if (status == GP_ERR_TIMEOUT)
            return timed_out(t, opts);
        if (status != GP_OK)
            return tp_fail(opts, status, "tls: poll: %s", strerror(errno));
    }
}
