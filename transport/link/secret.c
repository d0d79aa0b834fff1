/* transport/link/secret.c -- who may go on with a session */
#include "transport/link/link.h"

#include "protocol/base/util.h"
#include "transport/tls/sha256.h"

#include <string.h>

static void
put_u64(uint8_t *out, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

enum gp_status
tp_link_key(struct tp_lane *lane, uint64_t session_id, const uint8_t secret[32],
            uint8_t key[TP_KEY_BYTES])
{
    static const char label[16] = "gpupool session";
    uint8_t in[sizeof(label) + 8 + 32 + TP_KEY_BYTES];
    enum gp_status status = tp_export_key(lane, in + sizeof(label) + 8 + 32);

    memcpy(in, label, sizeof(label));
    put_u64(in + sizeof(label), session_id);
    memcpy(in + sizeof(label) + 8, secret, 32);
    if (status == GP_OK)
        status = tp_sha256(in, sizeof(in), key);
    explicit_bzero(in, sizeof(in));
    return status;
}

enum gp_status
tp_link_proof(const uint8_t key[TP_KEY_BYTES], const struct tp_link_claim *claim,
              uint8_t proof[32])
{
    static const char label[16] = "gpupool attempt";
    uint8_t in[sizeof(label) + 4 * 8 + TP_KEY_BYTES];
    size_t at = sizeof(label);
    enum gp_status status;

    memcpy(in, label, sizeof(label));
    put_u64(in + at, claim->session_id);
    put_u64(in + at + 8, claim->attempt);
    put_u64(in + at + 16, claim->received);
    at += 24;
    if (claim->lines != 0) { /* older peers know of one alone only */
        put_u64(in + at, (uint64_t)claim->line << 32 | claim->lines);
        at += 8;
    }
    memcpy(in + at, key, TP_KEY_BYTES);
    status = tp_sha256(in, at + TP_KEY_BYTES, proof);
    explicit_bzero(in, sizeof(in));
    return status;
}
