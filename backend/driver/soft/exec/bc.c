/* backend/driver/soft/exec/bc.c -- block-compressed textures: BC1 to BC5, and which decoder is
 * asked */
#include "backend/driver/soft/exec/bc.h"

#include "backend/driver/soft/exec/bc_priv.h"

/* -- BC1, BC2, BC3: two colours of 5, 6 and 5 bits, 16 weights of two bits ------------------- */

static void
color_565(unsigned bits, float out[3])
{
    out[0] = (float)(bits >> 11) / 31.0f;
    out[1] = (float)(bits >> 5 & 63) / 63.0f;
    out[2] = (float)(bits & 31) / 31.0f;
}

/* three: the fourth code is black without alpha where the first colour is not above the second. */
static void
color_block(const uint8_t *block, unsigned texel, bool three, float out[4])
{
    unsigned c0 = block[0] | (unsigned)block[1] << 8, c1 = block[2] | (unsigned)block[3] << 8;
    unsigned code = block[4 + texel / 4] >> texel % 4 * 2 & 3;
    float a[3], b[3];

    color_565(c0, a);
    color_565(c1, b);
    out[3] = 1;
    three = three && c0 <= c1;
    for (unsigned i = 0; i < 3; i++) {
        switch (code) {
        case 0:
            out[i] = a[i];
            break;
        case 1:
            out[i] = b[i];
            break;
        case 2:
            out[i] = three ? (a[i] + b[i]) / 2 : (2 * a[i] + b[i]) / 3;
            break;
        default:
            out[i] = three ? 0 : (a[i] + 2 * b[i]) / 3;
            break;
        }
    }
    if (three && code == 3)
        out[3] = 0;
}

/* -- BC3's alpha, BC4, BC5: two values of 8 bits, 16 weights of three bits ------------------- */

static float
scalar(int v, bool is_signed)
{
    if (!is_signed)
        return (float)v / 255.0f;
    return v == -128 ? -1.0f : (float)v / 127.0f;
}

static float
scalar_block(const uint8_t *block, unsigned texel, bool is_signed)
{
    int v0 = is_signed ? (int8_t)block[0] : block[0], v1 = is_signed ? (int8_t)block[1] : block[1];
    float a = scalar(v0, is_signed), b = scalar(v1, is_signed);
    uint64_t codes = 0;
    unsigned code;

    for (unsigned i = 0; i < 6; i++)
        codes |= (uint64_t)block[2 + i] << 8 * i;
    code = (unsigned)(codes >> 3 * texel & 7);
    if (code < 2)
        return code == 0 ? a : b;
    if (v0 > v1)
        return (a * (float)(8 - code) + b * (float)(code - 1)) / 7;
    if (code >= 6)
        return code == 7 ? 1.0f : is_signed ? -1.0f : 0.0f;
    return (a * (float)(6 - code) + b * (float)(code - 1)) / 5;
}

void
sd_bc_texel(enum sd_bc bc, const uint8_t *block, unsigned x, unsigned y, float out[4])
{
    unsigned texel = y * 4 + x;

    out[0] = out[1] = out[2] = 0;
    out[3] = 1;
    switch (bc) {
    case SD_BC1:
        color_block(block, texel, true, out);
        break;
    case SD_BC2:
        color_block(block + 8, texel, false, out);
        out[3] = (float)(block[texel / 2] >> texel % 2 * 4 & 15) / 15.0f;
        break;
    case SD_BC3:
        color_block(block + 8, texel, false, out);
        out[3] = scalar_block(block, texel, false);
        break;
    case SD_BC5:
    case SD_BC5S:
        out[1] = scalar_block(block + 8, texel, bc == SD_BC5S);
        out[0] = scalar_block(block, texel, bc == SD_BC5S);
        break;
    case SD_BC4:
    case SD_BC4S:
        out[0] = scalar_block(block, texel, bc == SD_BC4S);
        break;
    case SD_BC6:
    case SD_BC6S:
        sd_bc6_texel(block, texel, bc == SD_BC6S, out);
        break;
    case SD_BC7:
        sd_bc7_texel(block, texel, out);
        break;
    default:
        break;
    }
}
