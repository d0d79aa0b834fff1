/* transport/tls/context.h -- credentials, and what we demand of the peer
 *
 * Private to transport/tls.
 */
#ifndef TP_TLS_CONTEXT_H
#define TP_TLS_CONTEXT_H

#include "protocol/base/status.h"
#include "transport/transport.h"

#include <openssl/ssl.h>

#define TP_TLS_READ_BUFFER (128u << 10) /* ciphertext taken by one receive */

/*
 * Make an SSL for one connection: TLS 1.3 only, the peer's certificate demanded, our own loaded
 * into the SSL alone, so that SSL_certs_clear() leaves no key behind.
 *
 * name: client: what the server's certificate must carry; NULL for a server.
 * Errors: GP_ERR_INVALID for missing or bad files, said with what to do.
 */
GP_CHECK enum gp_status tp_tls_ssl_create(enum tp_role role, const char *name,
                                          const struct tp_opts *opts, SSL **ssl_p);

/* The same with opts->tls.psk in place of certificates: who lacks it gets no handshake done. psk
 * must live until the handshake is. */
GP_CHECK enum gp_status tp_tls_ssl_create_psk(enum tp_role role, const struct tp_opts *opts,
                                              SSL **ssl_p);

/* What every context of ours is: TLS 1.3 with these ciphers only, no compression, no sessions or
 * tickets, reads ahead. False where this OpenSSL cannot. */
bool tp_tls_context_setup(SSL_CTX *ctx, const char *ciphers);

/* For OpenSSL: a key behind a password is of no use here, and nobody at the terminal is asked. */
int tp_tls_no_password(char *buf, int size, int rwflag, void *user);

/* Copy what the certificate says about the peer; the handshake is done. */
void tp_tls_identity(SSL *ssl, struct tp_peer *peer);

#endif
