/* protocol/wire/put.h -- what sessions of two servers say to each other when one copies to the
 * other
 *
 * The source's server connects as a further connection of the destination's session (preface.h),
 * with the token's secret as the key of the handshake. On that line, as often as there are tokens:
 *
 *   HELLO PUT  wire_put        ->        which token, and how many bytes follow
 *   DATA, with the bytes       ->        at most WIRE_PUT_BLOCK each, in order, exactly so many
 *                              <-        HELLO PUT_DONE wire_put_done, once all lies on the device
 *
 * A token is made by the destination's session and good for one PUT. What is refused is answered at
 * once and ends the line. All numbers are little endian. Pure, safe on hostile input.
 */
#ifndef WIRE_PUT_H
#define WIRE_PUT_H

#include "protocol/base/status.h"

#include <stddef.h>
#include <stdint.h>

#define WIRE_PUT_BLOCK        (256u << 10)
#define WIRE_PUT_SECRET_BYTES 32u
#define WIRE_PUT_BYTES        56u
#define WIRE_PUT_DONE_BYTES   8u
#define WIRE_PUT_TOKEN_BYTES  (8u + WIRE_PUT_SECRET_BYTES) /* id, secret: as clients carry it */
#define WIRE_PUT_NAME_MAX     40u

/* offset 0 u64 id, not 0; 8 u8[32] secret; 40 u64 bytes, not 0; 48 u64 0 */
struct wire_put {
    uint64_t id;
    uint8_t secret[WIRE_PUT_SECRET_BYTES];
    uint64_t bytes;
};

/* offset 0 i32 result (CUresult); 4 u32 0 */
struct wire_put_done {
    int32_t result;
};

void wire_put_encode(const struct wire_put *in, uint8_t out[WIRE_PUT_BYTES]);
/* GP_ERR_PROTOCOL for another length, an id or a number of bytes that is 0, a word that is not. */
GP_CHECK enum gp_status wire_put_decode(const void *data, size_t bytes, struct wire_put *out_p);
void wire_put_done_encode(const struct wire_put_done *in, uint8_t out[WIRE_PUT_DONE_BYTES]);
GP_CHECK enum gp_status wire_put_done_decode(const void *data, size_t bytes,
                                             struct wire_put_done *out_p);

/* A token as clients carry it. */
void wire_put_token_encode(uint64_t id, const uint8_t secret[WIRE_PUT_SECRET_BYTES],
                           uint8_t out[WIRE_PUT_TOKEN_BYTES]);
GP_CHECK enum gp_status wire_put_token_decode(const void *data, size_t bytes, uint64_t *id_p,
                                              uint8_t secret[WIRE_PUT_SECRET_BYTES]);

/* What the handshake calls a token's key, "gpupool put 0123456789abcdef". */
void wire_put_name(uint64_t id, char out[WIRE_PUT_NAME_MAX]);
/* GP_ERR_NOT_FOUND for any other text. */
GP_CHECK enum gp_status wire_put_name_decode(const void *name, size_t bytes, uint64_t *id_p);

#endif
