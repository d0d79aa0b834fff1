/* transport/tls/library.c */
#include "transport/tls/library.h"

#include "protocol/base/log.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Written under once, then read-only. */
static bool started;

/* OpenSSL wipes keys, but not each buffer that a key was parsed from. So what it frees is wiped
 * here: it frees much while shaking hands and hardly anything while moving data. */
static void
wiping_free(void *data, const char *file, int line)
{
    (void)file;
    (void)line;
    if (data != NULL)
        explicit_bzero(data, malloc_usable_size(data));
    free(data);
}

static void *
plain_malloc(size_t bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return bytes != 0 ? malloc(bytes) : NULL; /* as OpenSSL's own */
}

static void *
wiping_realloc(void *data, size_t bytes, const char *file, int line)
{
    size_t had = data != NULL ? malloc_usable_size(data) : 0;
    void *moved;

    if (bytes == 0) {
        wiping_free(data, file, line);
        return NULL;
    }
    moved = malloc(bytes);
    if (moved == NULL)
        return NULL;
    if (data != NULL)
        memcpy(moved, data, had < bytes ? had : bytes);
    wiping_free(data, file, line);
    return moved;
}

static void
start(void)
{
    /* The no-config wish must be the first thing that OpenSSL hears, but for its memory. */
    uint64_t opts = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT;

    if (CRYPTO_set_mem_functions(plain_malloc, wiping_realloc, wiping_free) != 1)
        log_debug("tls: OpenSSL was in use before, memory that it frees is not wiped");
    started = OPENSSL_init_crypto(opts, NULL) == 1 &&
              OPENSSL_init_ssl(opts | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL) == 1;
    if (!started)
        log_error("tls: OpenSSL cannot be started");
}

enum gp_status
tp_tls_library_init(void)
{
    pthread_once(&once, start);
    return started ? GP_OK : GP_ERR_NO_MEMORY;
}
