/* protocol/wire/preface.c */
#include "protocol/wire/preface.h"

#include <string.h>

#define MAGIC_BYTES 8

/* The text's 0 is not on the wire. */
static const uint8_t magic[MAGIC_BYTES + 1] = "GPsess1\n";

void
wire_preface_encode(uint64_t session_id, uint8_t out[WIRE_PREFACE_BYTES])
{
    memset(out, 0, WIRE_PREFACE_BYTES);
    memcpy(out, magic, MAGIC_BYTES);
    for (int i = 0; i < 8; i++)
        out[MAGIC_BYTES + i] = (uint8_t)(session_id >> (8 * i));
}

bool
wire_preface_begins(const uint8_t *bytes, size_t count)
{
    return memcmp(bytes, magic, count < MAGIC_BYTES ? count : MAGIC_BYTES) == 0;
}

enum gp_status
wire_preface_decode(const uint8_t in[WIRE_PREFACE_BYTES], uint64_t *session_id_p)
{
    uint64_t id = 0;

    if (memcmp(in, magic, MAGIC_BYTES) != 0)
        return GP_ERR_PROTOCOL;
    for (int i = 0; i < 8; i++)
        id |= (uint64_t)in[MAGIC_BYTES + i] << (8 * i);
    for (unsigned i = MAGIC_BYTES + 8; i < WIRE_PREFACE_BYTES; i++)
        if (in[i] != 0)
            return GP_ERR_PROTOCOL;
    if (id == 0)
        return GP_ERR_PROTOCOL;
    *session_id_p = id;
    return GP_OK;
}
