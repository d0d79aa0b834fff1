/* transport/tls/look.c */
#include "transport/tls/look.h"

#include "transport/tls/context.h"
#include "transport/tls/library.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static enum gp_status
file_open(const char *path, FILE **file_p)
{
    if (tp_tls_library_init() != GP_OK)
        return GP_ERR_NO_MEMORY;
    *file_p = fopen(path, "re");
    if (*file_p != NULL)
        return GP_OK;
    return errno == ENOENT || errno == ENOTDIR ? GP_ERR_NOT_FOUND : GP_ERR_IO;
}

static enum gp_status
cert_read(const char *path, X509 **cert_p)
{
    FILE *file;
    enum gp_status status = file_open(path, &file);

    if (status != GP_OK)
        return status;
    *cert_p = PEM_read_X509(file, NULL, tp_tls_no_password, NULL);
    fclose(file);
    return *cert_p != NULL ? GP_OK : GP_ERR_INVALID;
}

static int64_t
seconds_of(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

enum gp_status
tp_cert_look(const char *path, struct tp_cert_look *look_p)
{
    X509 *cert;
    enum gp_status status = cert_read(path, &cert);

    if (status != GP_OK)
        return status;
    memset(look_p, 0, sizeof(*look_p));
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, look_p->name,
                                  sizeof(look_p->name)) < 0)
        X509_NAME_oneline(X509_get_subject_name(cert), look_p->name, sizeof(look_p->name));
    look_p->from_s = seconds_of(X509_get0_notBefore(cert));
    look_p->until_s = seconds_of(X509_get0_notAfter(cert));
    look_p->is_ca = X509_check_ca(cert) != 0;
    /* All bits where there is none. */
    look_p->for_client = (X509_get_extended_key_usage(cert) & XKU_SSL_CLIENT) != 0;
    X509_free(cert);
    return GP_OK;
}

enum gp_status
tp_cert_key_check(const char *cert_path, const char *key_path)
{
    EVP_PKEY *key;
    X509 *cert;
    FILE *file;
    enum gp_status status = file_open(key_path, &file);

    if (status != GP_OK)
        return status;
    key = PEM_read_PrivateKey(file, NULL, tp_tls_no_password, NULL);
    fclose(file);
    if (key == NULL)
        return GP_ERR_INVALID;
    status = cert_read(cert_path, &cert);
    if (status == GP_OK) {
        status = X509_check_private_key(cert, key) == 1 ? GP_OK : GP_ERR_AUTH;
        X509_free(cert);
    }
    EVP_PKEY_free(key);
    return status;
}

enum gp_status
tp_cert_signed_check(const char *cert_path, const char *ca_path)
{
    X509 *cert, *ca;
    FILE *file;
    enum gp_status status = cert_read(cert_path, &cert);

    if (status != GP_OK)
        return status;
    status = file_open(ca_path, &file);
    if (status == GP_OK) {
        status = GP_ERR_AUTH;
        while (status == GP_ERR_AUTH &&
               (ca = PEM_read_X509(file, NULL, tp_tls_no_password, NULL)) != NULL) {
            if (X509_verify(cert, X509_get0_pubkey(ca)) == 1)
                status = GP_OK;
            X509_free(ca);
        }
        fclose(file);
    }
    X509_free(cert);
    return status;
}
