/* protocol/cudart/md2.h -- the message digest MD2 (RFC 1319) and HMAC over it
 *
 * Only for the validity check of NVIDIA's CUDA runtime, which is no security matter: MD2 is
 * broken and must not protect anything of ours.
 */
#ifndef GP_CUDART_MD2_H
#define GP_CUDART_MD2_H

#include <stddef.h>
#include <stdint.h>

#define GP_MD2_BYTES 16

/* State of one digest; fields are private to md2.c. */
struct gp_md2 {
    uint8_t state[GP_MD2_BYTES];
    uint8_t checksum[GP_MD2_BYTES];
    uint8_t block[GP_MD2_BYTES];
    size_t used;
};

void gp_md2_init(struct gp_md2 *md);
void gp_md2_add(struct gp_md2 *md, const void *data, size_t len);
void gp_md2_finish(struct gp_md2 *md, uint8_t digest[GP_MD2_BYTES]);

/* An HMAC (RFC 2104) in progress; the key has exactly one block of 16 bytes. */
struct gp_hmac_md2 {
    struct gp_md2 inner;
    uint8_t key[GP_MD2_BYTES];
};

void gp_hmac_md2_init(struct gp_hmac_md2 *mac, const uint8_t key[GP_MD2_BYTES]);
void gp_hmac_md2_add(struct gp_hmac_md2 *mac, const void *data, size_t len);
void gp_hmac_md2_finish(struct gp_hmac_md2 *mac, uint8_t digest[GP_MD2_BYTES]);

#endif
