/* transport/tls/tls.c -- TLS 1.3 with a certificate on both sides */
#include "protocol/base/log.h"
#include "transport/socket.h"
#include "transport/tls/context.h"
#include "transport/tls/failure.h"
#include "transport/tls/tls_priv.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

/* Records decrypted in one turn, unless a sender wants it. */
#define RECORDS_PER_HOLD 4

static struct tls_lane *
tls_of(struct tp_stream *s)
{
    return (struct tls_lane *)s;
}

/* SSL_read has failed for good: find out why, say it where it matters. In our turn. */
static enum gp_status
read_failed(struct tls_lane *t, int error)
{
    char text[TP_WHY_BYTES];
    enum gp_status status;

    if (error == SSL_ERROR_ZERO_RETURN)
        return GP_ERR_CLOSED;
    status = tp_tls_explain(t->ssl, t->role, NULL, t->ended, false, text);
    if (status == GP_ERR_AUTH)
        log_error("tls %s: %s", t->s.lane.peer.address, text);
    else if (t->ended && t->in_error != 0)
        log_info("lane %s: receive: %s", t->s.lane.peer.address, strerror(t->in_error));
    else if (t->ended) /* as after a BYE: whoever minds says that it is lost */
        log_debug("lane %s: %s", t->s.lane.peer.address, text);
    else
        log_info("lane %s: %s", t->s.lane.peer.address, text);
    return status;
}

/* Decrypt into iov. Bytes; 0 means that read_status or more tells why. */
static size_t
decrypt(struct tls_lane *t, const struct iovec *iov, int iovcnt)
{
    size_t total = 0, at = 0;
    int i = 0;

    tp_turn_take_to_receive(&t->turn);
    ERR_clear_error();
    for (int records = 0; i < iovcnt && records < RECORDS_PER_HOLD; records++) {
        size_t got;

        if (records > 0 && tp_turn_wanted(&t->turn))
            break;

        int rc = SSL_read_ex(t->ssl, (char *)iov[i].iov_base + at, iov[i].iov_len - at, &got);

        t->more = rc == 1;
        if (rc != 1) {
            int error = SSL_get_error(t->ssl, rc);

            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
                t->read_status = read_failed(t, error);
            break;
        }
        total += got;
        at += got;
        if (at == iov[i].iov_len) {
            i++;
            at = 0;
        }
    }
    tp_turn_give(&t->turn);
    return total;
}

static enum gp_status
tls_read(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    struct tls_lane *t = tls_of(s);
    size_t got;

    if (t->kernel.receives)
        return tp_tls_kernel_read(t, iov, iovcnt, got_p);
    if (t->read_status != GP_OK)
        return t->read_status;
    if (!t->more && tp_tls_look(t) == GP_ERR_AGAIN)
        return GP_ERR_AGAIN;
    got = decrypt(t, iov, iovcnt);
    if (got == 0)
        return t->read_status != GP_OK ? t->read_status : GP_ERR_AGAIN;
    *got_p = got;
    return GP_OK;
}

/* Encrypt one piece. In our turn. */
static enum gp_status
encrypt(struct tls_lane *t, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        size_t put;
        int rc = SSL_write_ex(t->ssl, at, bytes, &put);

        if (rc != 1 || gp_buf_status(&t->out) != GP_OK) {
            if (gp_buf_status(&t->out) != GP_OK)
                log_error("lane %s: no memory to send %zu bytes", t->s.lane.peer.address, bytes);
            else /* the receiver met a fatal error, which ended both directions, and has said so */
                log_debug("lane %s: tls is over, nothing more is sent", t->s.lane.peer.address);
            ERR_clear_error();
            return GP_ERR_IO;
        }
        at += put;
        bytes -= put;
    }
    return GP_OK;
}

static enum gp_status
rekey_if_due(struct tls_lane *t, size_t bytes)
{
    t->key_bytes += bytes;
    if (t->key_bytes < t->rekey_bytes)
        return GP_OK;
    t->key_bytes = 0;
    if (SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) {
        log_error("lane %s: no new key from OpenSSL", t->s.lane.peer.address);
        return GP_ERR_IO;
    }
    return GP_OK;
}

/* Encrypt up to a chunk of iov: small pieces gathered into records, large ones from where they
 * lie. In our turn. */
static enum gp_status
encrypt_chunk(struct tls_lane *t, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    size_t total = 0, gathered = 0, at = 0, n;
    enum gp_status status = GP_OK;

    for (int i = 0; i < iovcnt && total < TP_TLS_CHUNK_BYTES && status == GP_OK;) {
        const char *piece = (const char *)iov[i].iov_base + at;
        size_t left = iov[i].iov_len - at;
        bool large = left >= TP_TLS_RECORD_BYTES;

        n = gp_min_u64(left, large ? TP_TLS_CHUNK_BYTES - total : TP_TLS_RECORD_BYTES - gathered);
        if (gathered == TP_TLS_RECORD_BYTES || (large && gathered > 0)) {
            status = encrypt(t, t->record, gathered);
            gathered = 0;
            continue;
        }
        if (large) {
            status = encrypt(t, piece, n);
        } else {
            memcpy(t->record + gathered, piece, n);
            gathered += n;
        }
        total += n;
        at += n;
        if (at == iov[i].iov_len) {
            i++;
            at = 0;
        }
    }
    if (status == GP_OK && gathered > 0)
        status = encrypt(t, t->record, gathered);
    if (status == GP_OK)
        status = rekey_if_due(t, total);
    *put_p = total;
    return status;
}

static enum gp_status
tls_write(struct tp_stream *s, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    struct tls_lane *t = tls_of(s);
    enum gp_status status;

    if (t->kernel.sends)
        return tp_tls_kernel_write(t, iov, iovcnt, put_p);
    status = tp_tls_send_leaving(t); /* what is encrypted already goes first */
    if (status != GP_OK)
        return status;
    tp_turn_take_to_send(&t->turn);
    status = encrypt_chunk(t, iov, iovcnt, put_p);
    tp_tls_take_out(t);
    tp_turn_give(&t->turn);
    if (status != GP_OK)
        return status;
    status = tp_tls_send_leaving(t);
    return status == GP_ERR_AGAIN ? GP_OK : status; /* taken; the next write or flush goes on */
}

static enum gp_status
tls_flush(struct tp_stream *s)
{
    return tp_tls_send_leaving(tls_of(s));
}

static bool
tls_buffered(const struct tp_stream *s)
{
    const struct tls_lane *t = (const struct tls_lane *)s;

    return t->more || t->in_head < t->in_tail;
}

static void
tls_shutdown(struct tp_stream *s)
{
    (void)shutdown(tls_of(s)->fd, SHUT_RDWR); /* fails only if the line is gone already */
}

static void
tls_finish(struct tp_stream *s)
{
    struct tls_lane *t = tls_of(s);

    if (t->kernel.sends) {
        tp_tls_kernel_finish(t);
    } else if (t->read_status == GP_OK || t->read_status == GP_ERR_CLOSED) {
        ERR_clear_error();
        t->finishing = true;
        (void)SSL_shutdown(t->ssl); /* writes close_notify; the peer's is not waited for */
        if (tp_tls_push(t) != GP_OK)
            log_debug("lane %s: closed without a word", s->lane.peer.address);
        ERR_clear_error();
    }
    (void)shutdown(t->fd, SHUT_WR);
}

static void
tls_destroy(struct tp_stream *s)
{
    struct tls_lane *t = tls_of(s);

    tp_tls_forget_refused(t->ssl);
    SSL_free(t->ssl);
    close(t->fd);
    gp_buf_fini(&t->out);
    gp_buf_fini(&t->leaving);
    free(t->record);
    free(t->in);
    explicit_bzero(&t->kernel, sizeof(t->kernel));
    tp_turn_fini(&t->turn);
}

static void
tls_abandon(struct tp_stream *s)
{
    close(tls_of(s)->fd);
}

static const struct tp_stream_ops tls_bytes = {
    .read = tls_read,
    .write = tls_write,
    .flush = tls_flush,
    .buffered = tls_buffered,
    .shutdown = tls_shutdown,
    .finish = tls_finish,
    .destroy = tls_destroy,
    .abandon = tls_abandon,
};

static enum gp_status
tls_export_key(struct tp_lane *lane, uint8_t out[TP_KEY_BYTES])
{
    static const char label[] = "EXPORTER-gpupool-session";
    struct tls_lane *t = tls_of(tp_stream_of(lane));
    int rc;

    tp_turn_take_to_send(&t->turn);
    ERR_clear_error();
    rc =
        SSL_export_keying_material(t->ssl, out, TP_KEY_BYTES, label, sizeof(label) - 1, NULL, 0, 0);
    ERR_clear_error();
    tp_turn_give(&t->turn);
    return rc == 1 ? GP_OK : GP_ERR_NOT_SUPPORTED;
}

static const struct tp_ops tls_ops = {
    .scheme = "tls",
    .caps = TP_CAP_ENCRYPTED | TP_CAP_IDENTITY | TP_CAP_POLL,
    TP_STREAM_OPS,
    .export_key = tls_export_key,
};

/* Everything but the handshake; takes fd. */
static enum gp_status
tls_create(int fd, enum tp_role role, const struct gp_url *url, const struct tp_opts *opts,
           struct tls_lane **lane_p)
{
    struct tls_lane *t = calloc(1, sizeof(*t));
    const char *name = opts->tls.server_name;
    enum gp_status status = GP_ERR_NO_MEMORY;

    if (t != NULL)
        status = tp_stream_init(&t->s, &tls_ops, &tls_bytes, opts);
    if (status != GP_OK) {
        free(t);
        close(fd);
        return status;
    }
    tp_turn_init(&t->turn);
    t->fd = t->s.read_fd = t->s.write_fd = fd;
    t->role = role;
    t->rekey_bytes = opts->rekey_bytes;
    if (name == NULL && url != NULL)
        name = url->host;
    if (role == TP_CLIENT && name != NULL)
        snprintf(t->name, sizeof(t->name), "%s", name);
    tp_socket_peer_text(fd, t->s.lane.peer.address, sizeof(t->s.lane.peer.address));

    t->in = malloc(TP_TLS_LOOK_BYTES);
    t->record = malloc(TP_TLS_RECORD_BYTES);
    status = t->in != NULL && t->record != NULL ? GP_OK : GP_ERR_NO_MEMORY;
    if (status == GP_OK && role == TP_CLIENT && t->name[0] == '\0' && opts->tls.psk == NULL)
        status = tp_fail(opts, GP_ERR_INVALID, "tls: no server name to check the certificate for");
    if (status == GP_OK)
        status = opts->tls.psk != NULL
                     ? tp_tls_ssl_create_psk(role, opts, &t->ssl)
                     : tp_tls_ssl_create(role, t->name[0] != '\0' ? t->name : NULL, opts, &t->ssl);
    if (status == GP_OK)
        status = tp_tls_attach(t);
    if (status != GP_OK) {
        tls_destroy(&t->s);
        tp_stream_fini(&t->s);
        free(t);
        return status;
    }
    *lane_p = t;
    return GP_OK;
}

static enum gp_status
tls_adopt(int fd, enum tp_role role, const struct gp_url *url, const struct tp_opts *opts,
          struct tp_lane **lane_p)
{
    struct tls_lane *t;
    enum gp_status status = tls_create(fd, role, url, opts, &t);

    if (status != GP_OK)
        return status;
    if (role == TP_SERVER)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    if (opts->tls.psk != NULL && opts->kernel_tls)
        tp_tls_kernel_prepare(t);
    status = tp_tls_handshake(t, opts);
    /* TLS 1.3 needs our key no more; what has tenant input in it must not hold it. */
    SSL_certs_clear(t->ssl);
    if (status == GP_OK && opts->tls.psk != NULL && SSL_session_reused(t->ssl) != 1)
        status = tp_fail(opts, GP_ERR_AUTH, "tls %s: the peer does not have the session's key",
                         t->s.lane.peer.address);
    if (status != GP_OK) {
        tls_destroy(&t->s);
        tp_stream_fini(&t->s);
        free(t);
        return status;
    }
    tp_tls_identity(t->ssl, &t->s.lane.peer);
    if (t->exact)
        tp_tls_kernel_take(t);
    if (t->rekey_bytes == 0)
        t->rekey_bytes = t->kernel.sends ? TP_TLS_KERNEL_REKEY_BYTES : TP_TLS_REKEY_BYTES;
    t->more = !t->kernel.receives; /* the handshake may have read past its end */
    *lane_p = &t->s.lane;
    return GP_OK;
}

const struct tp_scheme tp_scheme_tls = {
    .name = "tls",
    .adopt = tls_adopt,
};
