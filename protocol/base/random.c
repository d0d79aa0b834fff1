/* protocol/base/random.c */
#include "protocol/base/random.h"

#include "protocol/base/log.h"

#include <errno.h>
#include <sys/random.h>

enum gp_status
gp_random_bytes(void *out, size_t bytes)
{
    uint8_t *at = out;

    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            log_error("random: getrandom %zu bytes: %m", bytes);
            return GP_ERR_IO;
        }
        at += got;
        bytes -= (size_t)got;
    }
    return GP_OK;
}

bool
gp_secret_equal(const void *a, const void *b, size_t bytes)
{
    const volatile uint8_t *x = a, *y = b; /* volatile: no early way out of the loop */
    uint8_t diff = 0;

    for (size_t i = 0; i < bytes; i++)
        diff |= (uint8_t)(x[i] ^ y[i]);
    return diff == 0;
}
