/* protocol/wire/negotiate.c */
#include "protocol/wire/negotiate.h"

#include "protocol/base/util.h"
#include "protocol/wire/frame.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint64_t bit;
} features[] = {
    {"resume", WIRE_FEATURE_RESUME},
    {"bulk", WIRE_FEATURE_BULK},
    {"compress", WIRE_FEATURE_COMPRESS},
    {"promise", WIRE_FEATURE_PROMISE},
    {"content", WIRE_FEATURE_CONTENT},
};

static uint32_t
lower(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static enum gp_status
check(const struct wire_hello *mine, const struct wire_hello *peer, struct wire_error_answer *no)
{
    bool older = peer->wire_format < mine->wire_format;

    if (mine->wire_format != peer->wire_format) {
        no->code = WIRE_CODE_VERSION;
        snprintf(no->reason, sizeof(no->reason), "the peer speaks wire format %u, this side %u",
                 peer->wire_format, mine->wire_format);
        snprintf(no->hint, sizeof(no->hint), "update %s: %.120s",
                 older ? "the older side" : "this side", older ? peer->build : mine->build);
        return GP_ERR_VERSION;
    }
    if (peer->max_payload_bytes < WIRE_FRAME_PAYLOAD_MIN) {
        no->code = WIRE_CODE_PROTOCOL;
        snprintf(no->reason, sizeof(no->reason),
                 "the peer takes frames of %u bytes only, at least %u are needed",
                 peer->max_payload_bytes, WIRE_FRAME_PAYLOAD_MIN);
        return GP_ERR_PROTOCOL;
    }
    return GP_OK;
}

enum gp_status
wire_negotiate(const struct wire_hello *mine, const struct wire_hello *peer,
               struct wire_agreed *out_p, struct wire_error_answer *refusal_p)
{
    struct wire_error_answer no = {0};
    enum gp_status status = check(mine, peer, &no);

    if (status != GP_OK) {
        *refusal_p = no;
        return status;
    }
    out_p->minor = lower(mine->minor, peer->minor);
    out_p->features = mine->features & peer->features;
    out_p->max_payload_bytes =
        lower(lower(mine->max_payload_bytes, peer->max_payload_bytes), WIRE_FRAME_PAYLOAD_MAX);
    return GP_OK;
}

enum gp_status
wire_feature_by_name(const char *name, uint64_t *bit_p)
{
    for (size_t i = 0; i < GP_ARRAY_LEN(features); i++) {
        if (strcmp(features[i].name, name) == 0) {
            *bit_p = features[i].bit;
            return GP_OK;
        }
    }
    return GP_ERR_NOT_FOUND;
}
