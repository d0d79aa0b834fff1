/* transport/tls/failure.c */
#include "transport/tls/failure.h"

#include "protocol/base/util.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* OpenSSL forgets a certificate that it refuses; the reason should name what was in it. */
int
tp_tls_keep_refused(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *cert = X509_STORE_CTX_get0_cert(store);

    if (!ok && cert != NULL && SSL_get_app_data(ssl) == NULL && X509_up_ref(cert) == 1)
        SSL_set_app_data(ssl, cert);
    return ok;
}

void
tp_tls_forget_refused(SSL *ssl)
{
    if (ssl == NULL)
        return;
    X509_free(SSL_get_app_data(ssl));
    SSL_set_app_data(ssl, NULL);
}

static const char *
who(enum tp_role role)
{
    return role == TP_SERVER ? "the client's certificate" : "the server's certificate";
}

static void
time_text(const ASN1_TIME *when, char *out, size_t out_bytes)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(when, &tm) != 1 || strftime(out, out_bytes, "%Y-%m-%d", &tm) == 0)
        snprintf(out, out_bytes, "an unreadable date");
}

static void
say_date(SSL *ssl, enum tp_role role, bool expired, char *text)
{
    const X509 *cert = SSL_get_app_data(ssl);
    char date[32] = "an unknown date";

    if (cert != NULL)
        time_text(expired ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert), date,
                  sizeof(date));
    snprintf(text, TP_WHY_BYTES,
             expired ? "%s expired on %s: renew it (or correct the clock)"
                     : "%s is valid from %s only: correct the clock of whichever side is wrong",
             who(role), date);
}

/* The names that a certificate carries, for "is for X, Y, not for Z". */
static void
names_text(const X509 *cert, char *out, size_t out_bytes)
{
    GENERAL_NAMES *names =
        cert != NULL ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
    size_t used = 0;

    snprintf(out, out_bytes, "nobody");
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && used + 2 < out_bytes; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_STRING *str = name->d.dNSName; /* of an address, its bytes */
        char address[INET6_ADDRSTRLEN];
        int family;

        if (name->type == GEN_DNS) {
            used +=
                (size_t)snprintf(out + used, out_bytes - used, "%s%.*s", used ? ", " : "",
                                 ASN1_STRING_length(str), (const char *)ASN1_STRING_get0_data(str));
        } else if (name->type == GEN_IPADD &&
                   (ASN1_STRING_length(str) == 4 || ASN1_STRING_length(str) == 16)) {
            family = ASN1_STRING_length(str) == 4 ? AF_INET : AF_INET6;
            if (inet_ntop(family, ASN1_STRING_get0_data(str), address, sizeof(address)) != NULL)
                used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", used ? ", " : "",
                                         address);
        }
    }
    for (char *p = out; *p != '\0'; p++) /* it goes to a log: nothing but one plain line */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    GENERAL_NAMES_free(names);
}

static void
say_wrong_name(SSL *ssl, const char *name, char *text)
{
    char names[100];

    names_text(SSL_get_app_data(ssl), names, sizeof(names));
    snprintf(text, TP_WHY_BYTES,
             "the server's certificate is for %s, not for %.80s: connect by a name it carries or "
             "have it issued for this one",
             names, name != NULL ? name : "?");
}

static void
say_verdict(SSL *ssl, enum tp_role role, const char *name, long verdict, char *text)
{
    switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        say_date(ssl, role, verdict == X509_V_ERR_CERT_HAS_EXPIRED, text);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        say_wrong_name(ssl, name, text);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        snprintf(text, TP_WHY_BYTES,
                 "%s is not signed by our CA: use the CA file of who signed it, or have it signed "
                 "by ours",
                 who(role));
        break;
    case X509_V_ERR_CERT_REVOKED:
        snprintf(text, TP_WHY_BYTES, "%s is revoked: a new one is needed", who(role));
        break;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
        snprintf(
            text, TP_WHY_BYTES,
            "%s cannot be checked: our revocation list is not its CA's, or not of today: renew "
            "the list",
            who(role));
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        snprintf(text, TP_WHY_BYTES, "%s is not meant for a %s: have it issued with %s", who(role),
                 role == TP_SERVER ? "client" : "server",
                 role == TP_SERVER ? "clientAuth" : "serverAuth");
        break;
    default:
        snprintf(text, TP_WHY_BYTES, "%s was refused: %s", who(role),
                 X509_verify_cert_error_string(verdict));
        break;
    }
}

/* What the peer said of our certificate; NULL for any other alert. */
static const char *
alert_text(int reason)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the peer demands a certificate: set the certificate and key files";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "the peer says that our certificate has expired: renew it (or correct the clock)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "the peer does not know who signed our certificate: have it signed by the peer's "
               "CA, or add our CA there";
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
        return "the peer says that we do not have the session's key";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        return "the peer says that our certificate is revoked: get a new one";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return "the peer refused our certificate: its log says why";
    default:
        return NULL;
    }
}

static enum gp_status
say_protocol(enum tp_role role, int reason, char *text)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
        snprintf(text, TP_WHY_BYTES, "%s",
                 role == TP_SERVER ? "the peer does not speak TLS: clients must use tls://"
                                   : "the server does not speak TLS there: check port and scheme");
        return GP_ERR_PROTOCOL;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM: /* of a server that has a key and no certificate */
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        snprintf(text, TP_WHY_BYTES, "the peer cannot do TLS 1.3 as we need it: update it");
        return GP_ERR_PROTOCOL;
    default:
        return GP_OK;
    }
}

enum gp_status
tp_tls_explain(SSL *ssl, enum tp_role role, const char *name, bool cut, bool shaking, char *text)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);
    long verdict = SSL_get_verify_result(ssl);
    const char *alert = error != 0 ? alert_text(reason) : NULL;
    const char *words = error != 0 ? ERR_reason_error_string(error) : NULL;
    enum gp_status status = GP_OK;

    ERR_clear_error();
    /* Unspecified is what a key in place of certificates leaves behind. */
    if (verdict != X509_V_OK && verdict != X509_V_ERR_UNSPECIFIED) {
        say_verdict(ssl, role, name, verdict, text);
        return GP_ERR_AUTH;
    }
    if (alert != NULL) {
        snprintf(text, TP_WHY_BYTES, "%s", alert);
        return GP_ERR_AUTH;
    }
    if (reason == SSL_R_BINDER_DOES_NOT_VERIFY) {
        snprintf(text, TP_WHY_BYTES, "the peer does not have the session's key");
        return GP_ERR_AUTH;
    }
    if (reason == SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY) {
        snprintf(text, TP_WHY_BYTES, "the server does not have this session");
        return GP_ERR_NOT_FOUND;
    }
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        snprintf(text, TP_WHY_BYTES,
                 "the client sent no certificate: it must set its certificate "
                 "and key files");
        return GP_ERR_AUTH;
    }
    if (!cut && error != 0)
        status = say_protocol(role, reason, text);
    if (status != GP_OK)
        return status;
    if (cut)
        snprintf(text, TP_WHY_BYTES, "the peer cut the line%s",
                 shaking ? " during the TLS handshake: its log says why" : "");
    else
        snprintf(text, TP_WHY_BYTES, "tls: %s", words != NULL ? words : "unknown error");
    return GP_ERR_IO;
}
