/* tests/unit/transport/certs.h -- throwaway certificates, good and bad */
#ifndef TEST_CERTS_H
#define TEST_CERTS_H

#include "transport/transport.h"

#include <stdbool.h>

/* What a certificate shall look like; zeros make a good one. */
struct test_cert {
    const char *name;  /* writes DIR/name.pem and DIR/name.key */
    const char *ca;    /* signed by the certificate of this name; NULL: by itself */
    const char *cn;    /* subject's common name */
    const char *san;   /* "IP:127.0.0.1,DNS:localhost", NULL: none */
    const char *usage; /* extendedKeyUsage, "serverAuth"; NULL: none */
    bool is_ca;
    long from_s, until_s; /* seconds from now; both 0: -1 h to +1 h */
};

/* Make a directory of our own, unless there is one, and in it the set that most tests need: ca,
 * server (127.0.0.1, ::1, localhost), client (CN "alice", URI gpupool:tenant/alice). Returns its
 * path, for rmdir below. */
const char *test_certs_create(void);
/* Go on with the directory that another process made. */
void test_certs_use(const char *path);
void test_certs_destroy(void);
void test_certs_add(const struct test_cert *cert);
/* Write DIR/ca.crl, by which ca revokes the certificate of this name (NULL: none); it is valid
 * until until_s from now. */
void test_certs_revoke(const char *ca, const char *name, long until_s);
/* Who has the certificate of this name and trusts ca; the paths are test_certs_path()'s. */
struct tp_tls_opts test_certs_opts(const char *name, const char *ca);
/* The same of the server, as three options of gpupoold in static memory. */
void test_certs_server_args(const char *args[3]);
/* DIR/name.suffix, in one of a few static buffers. */
const char *test_certs_path(const char *name, const char *suffix);

#endif
