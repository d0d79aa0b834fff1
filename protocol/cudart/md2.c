/* protocol/cudart/md2.c -- MD2 after RFC 1319, HMAC after RFC 2104 */
#include "protocol/cudart/md2.h"

#include <string.h>

/* The permutation of 0 .. 255 that RFC 1319 derives from the digits of pi. */
static const uint8_t md2_pi[256] = {
    41,  46,  67,  201, 162, 216, 124, 1,   61,  54,  84,  161, 236, 240, 6,   19,
    98,  167, 5,   243, 192, 199, 115, 140, 152, 147, 43,  217, 188, 76,  130, 202,
    30,  155, 87,  60,  253, 212, 224, 22,  103, 66,  111, 24,  138, 23,  229, 18,
    190, 78,  196, 214, 218, 158, 222, 73,  160, 251, 245, 142, 187, 47,  238, 122,
    169, 104, 121, 145, 21,  178, 7,   63,  148, 194, 16,  137, 11,  34,  95,  33,
    128, 127, 93,  154, 90,  144, 50,  39,  53,  62,  204, 231, 191, 247, 151, 3,
    255, 25,  48,  179, 72,  165, 181, 209, 215, 94,  146, 42,  172, 86,  170, 198,
    79,  184, 56,  210, 150, 164, 125, 182, 118, 252, 107, 226, 156, 116, 4,   241,
    69,  157, 112, 89,  100, 113, 135, 32,  134, 91,  207, 101, 230, 45,  168, 2,
    27,  96,  37,  173, 174, 176, 185, 246, 28,  70,  97,  105, 52,  64,  126, 15,
    85,  71,  163, 35,  221, 81,  175, 58,  195, 92,  249, 206, 186, 197, 234, 38,
    44,  83,  13,  110, 133, 40,  132, 9,   211, 223, 205, 244, 65,  129, 77,  82,
    106, 220, 55,  200, 108, 193, 171, 250, 36,  225, 123, 8,   12,  189, 177, 74,
    120, 136, 149, 139, 227, 99,  232, 109, 233, 203, 213, 254, 59,  0,   29,  57,
    242, 239, 183, 14,  102, 88,  208, 228, 166, 119, 114, 248, 235, 117, 75,  10,
    49,  68,  80,  180, 143, 237, 31,  26,  219, 153, 141, 51,  159, 17,  131, 20,
};

static void
md2_block(struct gp_md2 *md, const uint8_t block[GP_MD2_BYTES])
{
    uint8_t x[3 * GP_MD2_BYTES];
    uint8_t last = md->checksum[GP_MD2_BYTES - 1];
    unsigned t = 0;

    for (unsigned i = 0; i < GP_MD2_BYTES; i++) {
        md->checksum[i] ^= md2_pi[block[i] ^ last];
        last = md->checksum[i];
        x[i] = md->state[i];
        x[GP_MD2_BYTES + i] = block[i];
        x[2 * GP_MD2_BYTES + i] = md->state[i] ^ block[i];
    }
    for (unsigned round = 0; round < 18; round++) {
        for (unsigned i = 0; i < sizeof(x); i++) {
            x[i] ^= md2_pi[t];
            t = x[i];
        }
        t = (t + round) & 0xff;
    }
    memcpy(md->state, x, GP_MD2_BYTES);
}

void
gp_md2_init(struct gp_md2 *md)
{
    memset(md, 0, sizeof(*md));
}

void
gp_md2_add(struct gp_md2 *md, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        md->block[md->used++] = p[i];
        if (md->used == GP_MD2_BYTES) {
            md2_block(md, md->block);
            md->used = 0;
        }
    }
}

void
gp_md2_finish(struct gp_md2 *md, uint8_t digest[GP_MD2_BYTES])
{
    uint8_t checksum[GP_MD2_BYTES];
    size_t pad = GP_MD2_BYTES - md->used;

    memset(md->block + md->used, (int)pad, pad);
    md2_block(md, md->block);
    memcpy(checksum, md->checksum, sizeof(checksum));
    md2_block(md, checksum);
    memcpy(digest, md->state, GP_MD2_BYTES);
}

static void
hmac_start(struct gp_md2 *md, const uint8_t key[GP_MD2_BYTES], uint8_t pad)
{
    uint8_t block[GP_MD2_BYTES];

    for (unsigned i = 0; i < GP_MD2_BYTES; i++)
        block[i] = key[i] ^ pad;
    gp_md2_init(md);
    gp_md2_add(md, block, sizeof(block));
}

void
gp_hmac_md2_init(struct gp_hmac_md2 *mac, const uint8_t key[GP_MD2_BYTES])
{
    memcpy(mac->key, key, GP_MD2_BYTES);
    hmac_start(&mac->inner, key, 0x36);
}

void
gp_hmac_md2_add(struct gp_hmac_md2 *mac, const void *data, size_t len)
{
    gp_md2_add(&mac->inner, data, len);
}

void
gp_hmac_md2_finish(struct gp_hmac_md2 *mac, uint8_t digest[GP_MD2_BYTES])
{
    uint8_t inner[GP_MD2_BYTES];
    struct gp_md2 outer;

    gp_md2_finish(&mac->inner, inner);
    hmac_start(&outer, mac->key, 0x5c);
    gp_md2_add(&outer, inner, sizeof(inner));
    gp_md2_finish(&outer, digest);
}
