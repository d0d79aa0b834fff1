/* transport/tls/failure.h -- from OpenSSL's error to one line that says what to do */
#ifndef TP_TLS_FAILURE_H
#define TP_TLS_FAILURE_H

#include "protocol/base/status.h"
#include "transport/transport.h"

#include <openssl/ssl.h>
#include <stddef.h>

/* For SSL_CTX_set_verify(): decides nothing, keeps the certificate that was refused in the SSL's
 * app data, for the words below. To be forgotten before the SSL is freed; NULL is allowed. */
int tp_tls_keep_refused(int ok, X509_STORE_CTX *store);
void tp_tls_forget_refused(SSL *ssl);

/*
 * Explain why ssl failed, from the certificate's verdict and the thread's error queue, which is
 * emptied.
 *
 * name:    what the server's certificate had to carry; NULL on a server.
 * cut:     the line ended instead of answering.
 * shaking: in the handshake; OpenSSL does not know any more once it has failed.
 * text:    TP_WHY_BYTES, without the peer's address.
 * Returns GP_ERR_AUTH for a certificate matter, GP_ERR_PROTOCOL for a peer that speaks no TLS 1.3,
 * GP_ERR_IO otherwise.
 */
enum gp_status tp_tls_explain(SSL *ssl, enum tp_role role, const char *name, bool cut, bool shaking,
                              char *text);

#endif
