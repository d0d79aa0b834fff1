/* transport/tls/context.c */
#include "transport/tls/context.h"

#include "protocol/base/util.h"
#include "transport/lane.h"
#include "transport/tls/failure.h"
#include "transport/tls/library.h"
#include "transport/tls/sha256.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define KEY_FILE_MAX  (64u << 10)
#define CERT_LIST_MAX (64u << 10)

#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

int
tp_tls_no_password(char *buf, int size, int rwflag, void *user)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)user;
    return 0;
}

static const char *
last_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    return text != NULL ? text : "unreadable";
}

/* Read all of a small file into wiped-after-use memory. 0 or an errno. */
static int
read_secret(const char *path, char *out, size_t max, size_t *bytes_p)
{
    GP_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got;

    if (fd < 0)
        return errno;
    while ((got = read(fd, out + used, max - used)) != 0) {
        if (got < 0 && errno != EINTR)
            return errno;
        if (got > 0)
            used += (size_t)got;
        if (used == max)
            return EFBIG;
    }
    *bytes_p = used;
    return 0;
}

static enum gp_status
load_key(SSL *ssl, const struct tp_opts *opts)
{
    const char *path = opts->tls.key_path;
    char *text = malloc(KEY_FILE_MAX);
    EVP_PKEY *key = NULL;
    size_t bytes = 0;
    BIO *bio;
    int error;

    if (text == NULL)
        return GP_ERR_NO_MEMORY;
    error = read_secret(path, text, KEY_FILE_MAX, &bytes);
    bio = error == 0 ? BIO_new_mem_buf(text, (int)bytes) : NULL;
    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, tp_tls_no_password, NULL);
    BIO_free(bio);
    OPENSSL_cleanse(text, KEY_FILE_MAX);
    free(text);

    if (error != 0)
        return tp_fail(opts, GP_ERR_INVALID, "private key %s: %s", path, strerror(error));
    if (key == NULL)
        return tp_fail(opts, GP_ERR_INVALID, "private key %s: %s: it must be PEM, not encrypted",
                       path, last_reason());
    error = SSL_use_PrivateKey(ssl, key);
    EVP_PKEY_free(key);
    if (error != 1)
        return tp_fail(opts, GP_ERR_INVALID, "private key %s does not belong to certificate %s",
                       path, opts->tls.cert_path);
    return GP_OK;
}

static enum gp_status
load_own(SSL *ssl, const struct tp_opts *opts)
{
    const struct tp_tls_opts *tls = &opts->tls;

    if (SSL_use_certificate_chain_file(ssl, tls->cert_path) != 1)
        return tp_fail(opts, GP_ERR_INVALID, "certificate %s: %s: it must be a readable PEM file",
                       tls->cert_path, last_reason());
    return load_key(ssl, opts);
}

static enum gp_status
load_ca(SSL_CTX *ctx, const struct tp_opts *opts)
{
    const char *path = opts->tls.ca_path;

    if (path == NULL)
        return tp_fail(opts, GP_ERR_INVALID,
                       "tls: no CA file given: set ca to the PEM file of who signs certificates");
    if (SSL_CTX_load_verify_file(ctx, path) != 1)
        return tp_fail(opts, GP_ERR_INVALID, "CA file %s: %s: it must be a readable PEM file", path,
                       last_reason());
    return GP_OK;
}

/* Read anew for each connection, like the rest. */
static enum gp_status
load_crl(SSL_CTX *ctx, const struct tp_opts *opts)
{
    const char *path = opts->tls.crl_path;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509_LOOKUP *lookup;

    if (path == NULL)
        return GP_OK;
    lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, path, X509_FILETYPE_PEM) < 1)
        return tp_fail(opts, GP_ERR_INVALID,
                       "revocation list %s: %s: it must be a readable PEM file", path,
                       last_reason());
    if (X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) != 1)
        return GP_ERR_NO_MEMORY;
    return GP_OK;
}

bool
tp_tls_context_setup(SSL_CTX *ctx, const char *ciphers)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, TP_TLS_READ_BUFFER);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, ciphers) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1;
}

static enum gp_status
context_create(enum tp_role role, const struct tp_opts *opts, SSL_CTX **ctx_p)
{
    SSL_CTX *ctx = SSL_CTX_new(role == TP_SERVER ? TLS_server_method() : TLS_client_method());
    int demand = SSL_VERIFY_PEER | (role == TP_SERVER ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);

    if (ctx == NULL)
        return GP_ERR_NO_MEMORY;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_verify(ctx, demand, tp_tls_keep_refused);
    SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
    if (!tp_tls_context_setup(ctx, CIPHERS)) {
        SSL_CTX_free(ctx);
        return tp_fail(opts, GP_ERR_NOT_SUPPORTED, "tls: this OpenSSL cannot do TLS 1.3 as needed");
    }
    *ctx_p = ctx;
    return GP_OK;
}

static enum gp_status
demand_name(SSL *ssl, const char *name)
{
    uint8_t ip[16];

    if (inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1 ? GP_OK
                                                                             : GP_ERR_NO_MEMORY;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
        return GP_ERR_NO_MEMORY;
    return GP_OK;
}

/* A certificate and its key come together; a server cannot do without. */
static enum gp_status
check_files(enum tp_role role, const struct tp_opts *opts)
{
    const struct tp_tls_opts *tls = &opts->tls;

    if ((tls->cert_path == NULL) != (tls->key_path == NULL))
        return tp_fail(opts, GP_ERR_INVALID, "tls: %s given without %s: set both",
                       tls->cert_path != NULL ? "a certificate" : "a private key",
                       tls->cert_path != NULL ? "its private key" : "its certificate");
    if (role == TP_SERVER && tls->cert_path == NULL)
        return tp_fail(opts, GP_ERR_INVALID,
                       "tls: no certificate given: set the certificate, key and ca files");
    return GP_OK;
}

enum gp_status
tp_tls_ssl_create(enum tp_role role, const char *name, const struct tp_opts *opts, SSL **ssl_p)
{
    SSL_CTX *ctx = NULL;
    SSL *ssl = NULL;
    enum gp_status status;

    status = tp_tls_library_init();
    if (status != GP_OK)
        return status;
    ERR_clear_error();
    status = check_files(role, opts);
    if (status == GP_OK)
        status = context_create(role, opts, &ctx);
    if (status == GP_OK)
        status = load_ca(ctx, opts);
    if (status == GP_OK)
        status = load_crl(ctx, opts);
    if (status == GP_OK) {
        ssl = SSL_new(ctx);
        status = ssl != NULL ? GP_OK : GP_ERR_NO_MEMORY;
    }
    if (status == GP_OK && opts->tls.cert_path != NULL)
        status = load_own(ssl, opts);
    if (status == GP_OK && name != NULL)
        status = demand_name(ssl, name);
    SSL_CTX_free(ctx); /* the SSL holds its own reference */
    if (status != GP_OK) {
        SSL_free(ssl);
        return status;
    }
    *ssl_p = ssl;
    return GP_OK;
}

/* Names with a NUL or another control character inside are somebody's trick: left out. */
static bool
take_text(const unsigned char *text, int bytes, char out[TP_NAME_MAX + 1])
{
    if (bytes <= 0 || bytes > TP_NAME_MAX)
        return false;
    for (int i = 0; i < bytes; i++)
        if (text[i] < 0x20 || text[i] == 0x7f)
            return false;
    memcpy(out, text, (size_t)bytes);
    out[bytes] = '\0';
    return true;
}

static void
take_common_name(X509 *cert, struct tp_peer *peer)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *utf8;
    int bytes;

    if (at < 0)
        return;
    bytes = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (bytes < 0)
        return;
    take_text(utf8, bytes, peer->common_name);
    OPENSSL_free(utf8);
}

static void
take_uris(X509 *cert, struct tp_peer *peer)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && peer->uri_count < TP_URIS_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;

        if (name->type == GEN_URI && take_text(ASN1_STRING_get0_data(uri), ASN1_STRING_length(uri),
                                               peer->uris[peer->uri_count]))
            peer->uri_count++;
    }
    GENERAL_NAMES_free(names);
}

void
tp_tls_identity(SSL *ssl, struct tp_peer *peer)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    unsigned len = sizeof(peer->cert_sha256);

    snprintf(peer->protocol, sizeof(peer->protocol), "%s", SSL_get_version(ssl));
    snprintf(peer->cipher, sizeof(peer->cipher), "%s", SSL_get_cipher_name(ssl));
    if (cert == NULL)
        return;
    take_common_name(cert, peer);
    take_uris(cert, peer);
    if (X509_digest(cert, EVP_sha256(), peer->cert_sha256, &len) != 1)
        memset(peer->cert_sha256, 0, sizeof(peer->cert_sha256));
}
