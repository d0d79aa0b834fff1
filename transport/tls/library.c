/* transport/tls/library.c */
#include "transport/tls/library.h"

#include "protocol/base/log.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Written under once, then read-only. */
static bool started;

static void
start(void)
{
    /* The no-config wish must be the first thing OpenSSL hears. */
    uint64_t opts = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT;

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
