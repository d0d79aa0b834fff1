/* protocol/directory/base64.c */
#include "protocol/directory/base64.h"

#include <stdint.h>
#include <string.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
dir_base64_put(struct gp_buf *out, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    char four[4];

    for (; bytes > 0; at += 3) {
        size_t n = bytes < 3 ? bytes : 3;
        uint32_t bits = (uint32_t)at[0] << 16;

        if (n > 1)
            bits |= (uint32_t)at[1] << 8;
        if (n > 2)
            bits |= at[2];
        four[0] = letters[bits >> 18];
        four[1] = letters[bits >> 12 & 63];
        four[2] = n > 1 ? letters[bits >> 6 & 63] : '=';
        four[3] = n > 2 ? letters[bits & 63] : '=';
        gp_buf_append(out, four, 4);
        bytes -= n;
    }
}

/* -1 for what is no letter of it. A directory's answer has half a million of them. */
static int
value_of(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

bool
dir_base64_take(const char *text, struct gp_buf *out)
{
    size_t length = strlen(text);

    if (length % 4 != 0)
        return false;
    for (size_t i = 0; i < length; i += 4) {
        size_t n = text[i + 2] == '=' ? 1 : text[i + 3] == '=' ? 2 : 3;
        uint32_t bits = 0;
        uint8_t three[3];

        if (n < 3 && i + 4 != length)
            return false;
        for (size_t k = 0; k < 4; k++) {
            int value = k <= n ? value_of(text[i + k]) : 0;

            if (value < 0 || (k > n && text[i + k] != '='))
                return false;
            bits = bits << 6 | (uint32_t)value;
        }
        three[0] = (uint8_t)(bits >> 16);
        three[1] = (uint8_t)(bits >> 8);
        three[2] = (uint8_t)bits;
        gp_buf_append(out, three, n);
    }
    return gp_buf_status(out) == GP_OK;
}
