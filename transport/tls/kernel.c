/* transport/tls/kernel.c -- have the kernel cipher a connection's records
 *
 * Of connections by a session's key only (psk.c): they carry bulk, have one cipher, no certificate
 * that could still be refused, and a session that goes on without them. OpenSSL shakes hands; from
 * there on the socket takes and gives plain bytes, and nothing of OpenSSL is used any more in a
 * direction that the kernel has. The keys are made of the secrets that OpenSSL tells whoever logs
 * keys, as RFC 8446 says in 7.3. OpenSSL's own way (SSL_OP_ENABLE_KTLS) gives only what is sent to
 * the kernel before OpenSSL 3.2.
 */
#include "protocol/base/log.h"
#include "transport/socket.h"
#include "transport/tls/tls_priv.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TLS_RX_EXPECT_NO_PAD
#define TLS_RX_EXPECT_NO_PAD 4
#endif

#define IV_BYTES 12u /* of the nonce that records' numbers are mixed into */

enum record_type {
    RECORD_ALERT = 21,
    RECORD_HANDSHAKE = 22,
    RECORD_DATA = 23
};
enum {
    ALERT_WARNING = 1,
    ALERT_CLOSE_NOTIFY = 0,
    HANDSHAKE_KEY_UPDATE = 24
};
/* What is ours to understand of a record that is no data. */
#define CONTROL_BYTES 5u

/* -- keys -----------------------------------------------------------------------------------------
 */

static int
nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
from_hex(const char *text, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        int high = nibble(text[2 * i]), low = high < 0 ? -1 : nibble(text[2 * i + 1]);

        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * bytes] == '\0';
}

/* From OpenSSL: "CLIENT_TRAFFIC_SECRET_0 <client's random> <secret>", and others. */
static void
hear_secret(const SSL *ssl, const char *line)
{
    struct tls_lane *t = BIO_get_data(SSL_get_rbio(ssl));
    const char *secret = strrchr(line, ' ');
    bool of_client = strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0;
    struct tls_secret *to;

    if (secret == NULL || (!of_client && strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) != 0))
        return;
    to = of_client == (t->role == TP_CLIENT) ? &t->kernel.out : &t->kernel.in;
    to->known = from_hex(secret + 1, to->bytes, sizeof(to->bytes));
}

/* HKDF-Expand-Label with an empty context. */
static bool
expand(const uint8_t secret[TP_TLS_SECRET_BYTES], const char *label, uint8_t *out, size_t bytes)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret,
                                          TP_TLS_SECRET_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (char *)(uintptr_t) "tls13 ", 6),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label,
                                          strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    bool ok = ctx != NULL && EVP_KDF_derive(ctx, out, bytes, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}

/* Have the kernel use secret from its first record on. False with errno. */
static bool
give_key(const struct tls_lane *t, int direction, const struct tls_secret *secret)
{
    struct tls12_crypto_info_aes_gcm_128 key = {
        .info = {.version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};
    uint8_t iv[IV_BYTES];
    bool ok = false;

    errno = ENOKEY;
    if (secret->known && expand(secret->bytes, "key", key.key, sizeof(key.key)) &&
        expand(secret->bytes, "iv", iv, sizeof(iv))) {
        memcpy(key.salt, iv, sizeof(key.salt));
        memcpy(key.iv, iv + sizeof(key.salt), sizeof(key.iv));
        ok = setsockopt(t->fd, SOL_TLS, direction, &key, sizeof(key)) == 0;
    }
    explicit_bzero(&key, sizeof(key));
    explicit_bzero(iv, sizeof(iv));
    return ok;
}

/* The next key of a direction. Kernels before 6.14 take none: then the connection is over, and its
 * session goes on by others. */
static enum gp_status
next_key(struct tls_lane *t, int direction, struct tls_secret *secret)
{
    struct tls_secret next;

    next.known = expand(secret->bytes, "traffic upd", next.bytes, sizeof(next.bytes));
    if (!next.known || !give_key(t, direction, &next)) {
        log_info("lane %s: the kernel takes no further key (%m), so this connection is over",
                 t->s.lane.peer.address);
        return GP_ERR_IO;
    }
    *secret = next;
    explicit_bzero(&next, sizeof(next));
    return GP_OK;
}

/* -- beginning ------------------------------------------------------------------------------------
 */

void
tp_tls_kernel_prepare(struct tls_lane *t)
{
    t->exact = true; /* what is behind the handshake is the kernel's to read */
    SSL_set_read_ahead(t->ssl, 0);
    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(t->ssl), hear_secret);
}

void
tp_tls_kernel_take(struct tls_lane *t)
{
    struct tls_kernel *k = &t->kernel;
    struct tp_peer *peer = &t->s.lane.peer;
    char cipher[sizeof(peer->cipher)];
    int on = 1;

    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(t->ssl), NULL);
    t->exact = false;
    if (setsockopt(t->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0) {
        k->sends = give_key(t, TLS_TX, &k->out);
        k->receives = SSL_has_pending(t->ssl) == 0 && give_key(t, TLS_RX, &k->in);
    }
    if (k->receives) /* an older kernel's refusal costs it speed alone */
        (void)setsockopt(t->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof(on));
    else
        SSL_set_read_ahead(t->ssl, 1);
    if (!k->sends && !k->receives) {
        log_debug("tls %s: no kernel TLS: %m", peer->address);
        return;
    }
    snprintf(cipher, sizeof(cipher), "%.22s%s by the kernel", peer->cipher,
             k->sends && k->receives ? ""
             : k->sends              ? ", sent"
                                     : ", received");
    memcpy(peer->cipher, cipher, sizeof(cipher));
    log_info("tls %s: %s", peer->address, peer->cipher);
}

/* -- sending --------------------------------------------------------------------------------------
 */

static enum gp_status
send_control(const struct tls_lane *t, enum record_type type, const uint8_t *data, size_t bytes)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(1)];
    } control = {.header = {.cmsg_len = CMSG_LEN(1),
                            .cmsg_level = SOL_TLS,
                            .cmsg_type = TLS_SET_RECORD_TYPE}};
    struct iovec iov = {(void *)(uintptr_t)data, bytes};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};

    *CMSG_DATA(&control.header) = (uint8_t)type;
    if (sendmsg(t->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return GP_OK;
    return errno == EAGAIN || errno == EINTR ? GP_ERR_AGAIN : GP_ERR_IO;
}

static enum gp_status
update_key(struct tls_lane *t)
{
    static const uint8_t update[CONTROL_BYTES] = {HANDSHAKE_KEY_UPDATE, 0, 0, 1, 0};
    enum gp_status status = send_control(t, RECORD_HANDSHAKE, update, sizeof(update));

    if (status == GP_OK)
        status = next_key(t, TLS_TX, &t->kernel.out);
    if (status == GP_OK)
        t->key_bytes = 0;
    return status;
}

enum gp_status
tp_tls_kernel_write(struct tls_lane *t, const struct iovec *iov, int iovcnt, size_t *put_p)
{
    enum gp_status status = GP_OK;

    /* The kernel may take bytes for a socket that was shut down. */
    if (atomic_load_explicit(&t->s.ended, memory_order_relaxed))
        return GP_ERR_IO;
    if (t->key_bytes >= t->rekey_bytes)
        status = update_key(t);
    if (status == GP_OK)
        status = tp_socket_send(t->fd, iov, iovcnt, t->s.lane.peer.address, put_p);
    if (status == GP_OK)
        t->key_bytes += *put_p + TP_TLS_RECORD_COST;
    return status;
}

void
tp_tls_kernel_finish(struct tls_lane *t)
{
    static const uint8_t close_notify[2] = {ALERT_WARNING, ALERT_CLOSE_NOTIFY};

    if (send_control(t, RECORD_ALERT, close_notify, sizeof(close_notify)) != GP_OK)
        log_debug("lane %s: closed without a word", t->s.lane.peer.address);
}

/* -- receiving ------------------------------------------------------------------------------------
 */

/* The record's first bytes, in whichever pieces they came. */
static size_t
gather(const struct iovec *iov, int iovcnt, size_t bytes, uint8_t out[CONTROL_BYTES])
{
    size_t n = 0;

    for (int i = 0; i < iovcnt; i++)
        for (size_t at = 0; at < iov[i].iov_len && n < bytes && n < CONTROL_BYTES; at++)
            out[n++] = ((const uint8_t *)iov[i].iov_base)[at];
    return n;
}

/* GP_OK: it is dealt with, and what is behind it can be read. */
static enum gp_status
take_control(struct tls_lane *t, int type, const uint8_t *data, size_t bytes)
{
    if (type == RECORD_ALERT && bytes == 2) {
        if (data[1] == ALERT_CLOSE_NOTIFY)
            return GP_ERR_CLOSED;
        log_info("lane %s: the peer ends it with TLS alert %u", t->s.lane.peer.address, data[1]);
        return GP_ERR_IO;
    }
    if (type == RECORD_HANDSHAKE && bytes == CONTROL_BYTES && data[0] == HANDSHAKE_KEY_UPDATE)
        return next_key(t, TLS_RX, &t->kernel.in);
    log_warn("lane %s: a TLS record of type %d that nothing of ours sends", t->s.lane.peer.address,
             type);
    return GP_ERR_PROTOCOL;
}

static int
record_type(struct msghdr *msg)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(msg);

    if (header == NULL || header->cmsg_level != SOL_TLS || header->cmsg_type != TLS_GET_RECORD_TYPE)
        return RECORD_DATA;
    return *CMSG_DATA(header);
}

static enum gp_status
receive(struct tls_lane *t, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    char control[CMSG_SPACE(1)] __attribute__((aligned(__alignof__(struct cmsghdr))));
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                         .msg_iovlen = (size_t)iovcnt,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(t->fd, &msg, MSG_DONTWAIT);
    uint8_t data[CONTROL_BYTES];
    int type;

    *got_p = 0;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return GP_ERR_AGAIN;
    if (got <= 0) {
        log_info("lane %s: receive: %s", t->s.lane.peer.address,
                 got < 0 ? strerror(errno) : "ended without a word");
        return GP_ERR_IO;
    }
    type = record_type(&msg);
    if (type != RECORD_DATA)
        return take_control(t, type, data, gather(iov, iovcnt, (size_t)got, data));
    *got_p = (size_t)got;
    return GP_OK;
}

enum gp_status
tp_tls_kernel_read(struct tls_lane *t, const struct iovec *iov, int iovcnt, size_t *got_p)
{
    enum gp_status status = t->read_status;

    do
        if (status == GP_OK)
            status = receive(t, iov, iovcnt, got_p);
    while (status == GP_OK && *got_p == 0);
    if (status != GP_OK && status != GP_ERR_AGAIN)
        t->read_status = status;
    return status;
}
