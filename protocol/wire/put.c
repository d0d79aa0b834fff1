/* protocol/wire/put.c */
#include "protocol/wire/put.h"

#include <stdio.h>
#include <string.h>

#define NAME_HEAD  "gpupool put "
#define NAME_BYTES (sizeof(NAME_HEAD) - 1 + 16)

static void
put_u64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get_u64(const uint8_t *from)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

void
wire_put_encode(const struct wire_put *in, uint8_t out[WIRE_PUT_BYTES])
{
    put_u64(out, in->id);
    memcpy(out + 8, in->secret, WIRE_PUT_SECRET_BYTES);
    put_u64(out + 40, in->bytes);
    put_u64(out + 48, 0);
}

enum gp_status
wire_put_decode(const void *data, size_t bytes, struct wire_put *out_p)
{
    const uint8_t *from = data;

    if (bytes != WIRE_PUT_BYTES || get_u64(from) == 0 || get_u64(from + 40) == 0 ||
        get_u64(from + 48) != 0)
        return GP_ERR_PROTOCOL;
    out_p->id = get_u64(from);
    memcpy(out_p->secret, from + 8, WIRE_PUT_SECRET_BYTES);
    out_p->bytes = get_u64(from + 40);
    return GP_OK;
}

void
wire_put_done_encode(const struct wire_put_done *in, uint8_t out[WIRE_PUT_DONE_BYTES])
{
    put_u64(out, (uint32_t)in->result);
}

enum gp_status
wire_put_done_decode(const void *data, size_t bytes, struct wire_put_done *out_p)
{
    if (bytes != WIRE_PUT_DONE_BYTES || get_u64(data) > UINT32_MAX)
        return GP_ERR_PROTOCOL;
    out_p->result = (int32_t)(uint32_t)get_u64(data);
    return GP_OK;
}

void
wire_put_token_encode(uint64_t id, const uint8_t secret[WIRE_PUT_SECRET_BYTES],
                      uint8_t out[WIRE_PUT_TOKEN_BYTES])
{
    put_u64(out, id);
    memcpy(out + 8, secret, WIRE_PUT_SECRET_BYTES);
}

enum gp_status
wire_put_token_decode(const void *data, size_t bytes, uint64_t *id_p,
                      uint8_t secret[WIRE_PUT_SECRET_BYTES])
{
    if (bytes != WIRE_PUT_TOKEN_BYTES || get_u64(data) == 0)
        return GP_ERR_PROTOCOL;
    *id_p = get_u64(data);
    memcpy(secret, (const uint8_t *)data + 8, WIRE_PUT_SECRET_BYTES);
    return GP_OK;
}

void
wire_put_name(uint64_t id, char out[WIRE_PUT_NAME_MAX])
{
    snprintf(out, WIRE_PUT_NAME_MAX, NAME_HEAD "%016llx", (unsigned long long)id);
}

enum gp_status
wire_put_name_decode(const void *name, size_t bytes, uint64_t *id_p)
{
    const char *digits = (const char *)name + sizeof(NAME_HEAD) - 1;
    uint64_t id = 0;

    if (bytes != NAME_BYTES || memcmp(name, NAME_HEAD, sizeof(NAME_HEAD) - 1) != 0)
        return GP_ERR_NOT_FOUND;
    for (int i = 0; i < 16; i++) {
        if (digits[i] >= '0' && digits[i] <= '9')
            id = id << 4 | (uint64_t)(digits[i] - '0');
        else if (digits[i] >= 'a' && digits[i] <= 'f')
            id = id << 4 | (uint64_t)(digits[i] - 'a' + 10);
        else
            return GP_ERR_NOT_FOUND;
    }
    *id_p = id;
    return id != 0 ? GP_OK : GP_ERR_NOT_FOUND;
}
