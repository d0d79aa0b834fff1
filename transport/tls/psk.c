/* transport/tls/psk.c -- further connections of a session: a key that both ends have, no files
 *
 * TLS 1.3 with an external key and a fresh Diffie-Hellman exchange: who knows the key later still
 * reads nothing of it, and a recording of it starts nothing.
 */
#include "transport/lane.h"
#include "transport/tls/context.h"
#include "transport/tls/library.h"

#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

/* The key's hash is the cipher's. */
#define CIPHER   "TLS_AES_128_GCM_SHA256"
#define IDENTITY "gpupool session"

static int key_index = -1;

static void
make_index(void)
{
    key_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* A session that holds nothing but the key; NULL without memory. */
static SSL_SESSION *
session_of_key(SSL *ssl, const uint8_t *key)
{
    static const unsigned char aes_128_gcm_sha256[2] = {0x13, 0x01};
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    SSL_SESSION *session = cipher != NULL ? SSL_SESSION_new() : NULL;

    if (session == NULL)
        return NULL;
    if (SSL_SESSION_set1_master_key(session, key, TP_KEY_BYTES) == 1 &&
        SSL_SESSION_set_cipher(session, cipher) == 1 &&
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

static int
use_key(SSL *ssl, const EVP_MD *md, const unsigned char **id_p, size_t *id_bytes_p,
        SSL_SESSION **session_p)
{
    const struct tp_tls_opts *tls = SSL_get_ex_data(ssl, key_index);
    const char *name = tls->psk_name != NULL ? tls->psk_name : IDENTITY;

    (void)md; /* offered with our only cipher's hash */
    *session_p = session_of_key(ssl, tls->psk);
    if (*session_p == NULL)
        return 0;
    *id_p = (const unsigned char *)name;
    *id_bytes_p = strlen(name);
    return 1;
}

static int
find_key(SSL *ssl, const unsigned char *id, size_t id_bytes, SSL_SESSION **session_p)
{
    const struct tp_tls_opts *tls = SSL_get_ex_data(ssl, key_index);
    uint8_t key[TP_KEY_BYTES];

    *session_p = NULL; /* another identity: no key, and without a certificate no handshake */
    if (id_bytes == strlen(IDENTITY) && memcmp(id, IDENTITY, id_bytes) == 0) {
        *session_p = session_of_key(ssl, tls->psk);
        return *session_p != NULL;
    }
    if (tls->psk_find == NULL || !tls->psk_find(tls->psk_user, (const char *)id, id_bytes, key))
        return 1;
    *session_p = session_of_key(ssl, key);
    explicit_bzero(key, sizeof(key));
    return *session_p != NULL;
}

static SSL_CTX *
context_create(enum tp_role role)
{
    SSL_CTX *ctx = SSL_CTX_new(role == TP_SERVER ? TLS_server_method() : TLS_client_method());

    if (ctx == NULL)
        return NULL;
    /* No CA is known: a server that shows a certificate instead of having the key is refused. */
    SSL_CTX_set_verify(ctx, role == TP_SERVER ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (role == TP_SERVER)
        SSL_CTX_set_psk_find_session_callback(ctx, find_key);
    else
        SSL_CTX_set_psk_use_session_callback(ctx, use_key);
    if (tp_tls_context_setup(ctx, CIPHER))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

enum gp_status
tp_tls_ssl_create_psk(enum tp_role role, const struct tp_opts *opts, SSL **ssl_p)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    enum gp_status status = tp_tls_library_init();
    SSL_CTX *ctx;
    SSL *ssl;

    if (status != GP_OK)
        return status;
    pthread_once(&once, make_index);
    ERR_clear_error();
    ctx = context_create(role);
    ssl = ctx != NULL ? SSL_new(ctx) : NULL;
    SSL_CTX_free(ctx);
    /* Looked at during the handshake, which opts outlives. */
    if (ssl == NULL || SSL_set_ex_data(ssl, key_index, (void *)(uintptr_t)&opts->tls) != 1) {
        SSL_free(ssl);
        return tp_fail(opts, GP_ERR_NO_MEMORY, "tls: no memory for a connection");
    }
    *ssl_p = ssl;
    return GP_OK;
}
