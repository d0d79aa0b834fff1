/* transport/tls/sha256.c */
#include "transport/tls/sha256.h"

#include "transport/tls/library.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>

struct tp_sha256 {
    EVP_MD_CTX *ctx;
    bool failed;
};

enum gp_status
tp_sha256_create(struct tp_sha256 **hash_p)
{
    struct tp_sha256 *hash;

    if (tp_tls_library_init() != GP_OK)
        return GP_ERR_NO_MEMORY;
    hash = calloc(1, sizeof(*hash));
    if (hash == NULL)
        return GP_ERR_NO_MEMORY;
    hash->ctx = EVP_MD_CTX_new();
    if (hash->ctx == NULL || EVP_DigestInit_ex(hash->ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(hash->ctx);
        free(hash);
        return GP_ERR_NO_MEMORY;
    }
    *hash_p = hash;
    return GP_OK;
}

void
tp_sha256_add(struct tp_sha256 *hash, const void *data, size_t bytes)
{
    if (EVP_DigestUpdate(hash->ctx, data, bytes) != 1)
        hash->failed = true;
}

enum gp_status
tp_sha256_finish(struct tp_sha256 *hash, uint8_t out[TP_SHA256_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    bool ok = !hash->failed && EVP_DigestFinal_ex(hash->ctx, digest, NULL) == 1;

    if (ok && out != NULL)
        for (int i = 0; i < TP_SHA256_BYTES; i++)
            out[i] = digest[i];
    EVP_MD_CTX_free(hash->ctx);
    free(hash);
    return ok ? GP_OK : GP_ERR_NO_MEMORY;
}

enum gp_status
tp_sha256(const void *data, size_t bytes, uint8_t out[TP_SHA256_BYTES])
{
    struct tp_sha256 *hash;
    enum gp_status status = tp_sha256_create(&hash);

    if (status != GP_OK)
        return status;
    tp_sha256_add(hash, data, bytes);
    return tp_sha256_finish(hash, out);
}
