/* tests/unit/transport/certs.c */
#include "tests/unit/transport/certs.h"
#include "tests/unit/transport/need.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A test is one process and one thread here. */
static char dir[64];
static long serial = 1;

const char *
test_certs_path(const char *name, const char *suffix)
{
    static char paths[16][256];
    static unsigned next;
    char *path = paths[next++ % 16];

    snprintf(path, sizeof(paths[0]), "%s/%s.%s", dir, name, suffix);
    return path;
}

static void
add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *ext;
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    need(ext != NULL);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static void *
load(const char *name, const char *suffix)
{
    FILE *file = fopen(test_certs_path(name, suffix), "r");
    void *found;

    need(file != NULL);
    if (strcmp(suffix, "key") == 0)
        found = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    else
        found = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    need(found != NULL);
    return found;
}

static void
save(const char *name, X509 *cert, EVP_PKEY *key)
{
    FILE *file = fopen(test_certs_path(name, "pem"), "w");

    need(file != NULL);
    PEM_write_X509(file, cert);
    fclose(file);
    file = fopen(test_certs_path(name, "key"), "w");
    need(file != NULL);
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}

void
test_certs_add(const struct test_cert *spec)
{
    bool dated = spec->from_s != 0 || spec->until_s != 0;
    EVP_PKEY *key = EVP_EC_gen("P-256"), *signer = key;
    X509 *cert = X509_new(), *issuer = cert;

    need(key != NULL && cert != NULL);
    if (spec->ca != NULL) {
        issuer = load(spec->ca, "pem");
        signer = load(spec->ca, "key");
    }
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), dated ? spec->from_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), dated ? spec->until_s : 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                               (const unsigned char *)spec->cn, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    if (spec->is_ca)
        add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
    if (spec->san != NULL)
        add_extension(cert, issuer, NID_subject_alt_name, spec->san);
    if (spec->usage != NULL)
        add_extension(cert, issuer, NID_ext_key_usage, spec->usage);
    need(X509_sign(cert, signer, EVP_sha256()) > 0);
    save(spec->name, cert, key);

    if (spec->ca != NULL) {
        X509_free(issuer);
        EVP_PKEY_free(signer);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

void
test_certs_revoke(const char *ca, const char *name, long until_s)
{
    X509 *issuer = load(ca, "pem"), *gone = name != NULL ? load(name, "pem") : NULL;
    EVP_PKEY *signer = load(ca, "key");
    ASN1_TIME *when = ASN1_TIME_new();
    X509_CRL *crl = X509_CRL_new();
    FILE *file;

    need(crl != NULL && when != NULL);
    X509_CRL_set_version(crl, 1);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
    X509_gmtime_adj(when, -3600);
    X509_CRL_set1_lastUpdate(crl, when);
    if (gone != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();

        need(entry != NULL);
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(gone));
        X509_REVOKED_set_revocationDate(entry, when);
        need(X509_CRL_add0_revoked(crl, entry) == 1);
    }
    X509_gmtime_adj(when, until_s);
    X509_CRL_set1_nextUpdate(crl, when);
    need(X509_CRL_sign(crl, signer, EVP_sha256()) > 0);
    file = fopen(test_certs_path(ca, "crl"), "w");
    need(file != NULL);
    PEM_write_X509_CRL(file, crl);
    fclose(file);
    X509_CRL_free(crl);
    ASN1_TIME_free(when);
    X509_free(issuer);
    X509_free(gone);
    EVP_PKEY_free(signer);
}

const char *
test_certs_create(void)
{
    static const struct test_cert set[] = {
        {.name = "ca", .cn = "test authority", .is_ca = true},
        {.name = "server",
         .ca = "ca",
         .cn = "pool server",
         .san = "IP:127.0.0.1,IP:::1,DNS:localhost",
         .usage = "serverAuth"},
        {.name = "client",
         .ca = "ca",
         .cn = "alice",
         .san = "URI:gpupool:tenant/alice,DNS:alice.example",
         .usage = "clientAuth"},
    };

    if (dir[0] != '\0')
        return dir;
    snprintf(dir, sizeof(dir), "/tmp/gpupool-certs-XXXXXX");
    need(mkdtemp(dir) != NULL);
    for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
        test_certs_add(&set[i]);
    return dir;
}

void
test_certs_use(const char *path)
{
    snprintf(dir, sizeof(dir), "%s", path);
}

void
test_certs_destroy(void)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;

    if (d == NULL)
        return;
    while ((entry = readdir(d)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    rmdir(dir);
    dir[0] = '\0';
}

struct tp_tls_opts
test_certs_opts(const char *name, const char *ca)
{
    return (struct tp_tls_opts){.cert_path = test_certs_path(name, "pem"),
                                .key_path = test_certs_path(name, "key"),
                                .ca_path = test_certs_path(ca, "pem")};
}

void
test_certs_server_args(const char *args[3])
{
    static char cert[256], key[256], ca[256];

    snprintf(cert, sizeof(cert), "--tls-cert=%s", test_certs_path("server", "pem"));
    snprintf(key, sizeof(key), "--tls-key=%s", test_certs_path("server", "key"));
    snprintf(ca, sizeof(ca), "--tls-ca=%s", test_certs_path("ca", "pem"));
    args[0] = cert;
    args[1] = key;
    args[2] = ca;
}
