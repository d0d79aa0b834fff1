/* drv_blocks.c -- textures of block-compressed formats: views of arrays of whole numbers */
#include "drv.h"

#include "texture_ptx.h"

#include <math.h>

#define BLOCKS 4u /* in a row and a column of the largest level */
#define TEXELS (4 * BLOCKS)
#define LEVELS 3u

static CUfunction kernel;
static CUdeviceptr out;

/* -- a reference: blocks whose 16 texels are told by few numbers ---------------------------------
 */

/* A block number n of a kind, and what its texel at (x, y) is. */
struct kind {
    const char *name;
    CUresourceViewFormat format;
    unsigned bytes; /* of a block */
    void (*block)(unsigned n, uint8_t *to);
    void (*texel)(unsigned n, unsigned x, unsigned y, float want[4]);
};

/* Two colours, the codes 0, 1, 2, 3 across; 4 colours if the first is above. */
static void
bc1_block(unsigned n, uint8_t *to)
{
    unsigned c0 = n << 11 | 20, c1 = 10; /* red n and blue 20; blue 10 */

    if (n % 2 == 1) { /* three colours and nothing */
        unsigned t = c0;

        c0 = c1;
        c1 = t;
    }
    memset(to, 0xe4, 8);
    memcpy(to, &(uint16_t){(uint16_t)c0}, 2);
    memcpy(to + 2, &(uint16_t){(uint16_t)c1}, 2);
}

static void
bc1_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    static const float four[] = {1, 0, 2.0f / 3, 1.0f / 3}, three[] = {0, 1, 0.5f};
    float of_first = n % 2 == 0 ? four[x] : x < 3 ? three[x] : 0;
    bool nothing = n % 2 == 1 && x == 3;

    (void)y;
    want[0] = (float)n / 31 * of_first;
    want[1] = 0;
    want[2] = nothing ? 0 : 20.0f / 31 * of_first + 10.0f / 31 * (1 - of_first);
    want[3] = nothing ? 0 : 1;
}

/* BC2's alpha is written out: the texel's number. */
static void
bc2_block(unsigned n, uint8_t *to)
{
    for (unsigned i = 0; i < 8; i++)
        to[i] = (uint8_t)(2 * i | (2 * i + 1) << 4);
    bc1_block(n / 2 * 2, to + 8);
}

static void
bc2_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    bc1_texel(n / 2 * 2, x, y, want);
    want[3] = (float)(4 * y + x) / 15;
}

/* A value that falls from v0, above, to v1 = 10 by sevenths: row y has the codes y, y + 1, ... */
static void
bc4_block(unsigned n, uint8_t *to)
{
    uint64_t codes = 0;

    for (unsigned i = 0; i < 16; i++)
        codes |= (uint64_t)((i / 4 + i % 4) % 8) << 3 * i;
    memcpy(to + 2, &codes, 6);
    to[0] = (uint8_t)(20 + n);
    to[1] = 10;
}

static float
bc4_value(unsigned n, unsigned x, unsigned y, float of)
{
    static const float first[] = {7, 0, 6, 5, 4, 3, 2, 1}; /* sevenths of the first value */
    float w = first[(x + y) % 8] / 7;

    return ((float)(20 + n) * w + 10 * (1 - w)) / of;
}

static void
bc4_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    want[0] = bc4_value(n, x, y, 255);
    want[1] = want[2] = 0;
    want[3] = 1;
}

static void
bc4s_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    bc4_texel(n, x, y, want);
    want[0] = bc4_value(n, x, y, 127);
}

static void
bc3_block(unsigned n, uint8_t *to)
{
    bc4_block(n, to);
    bc1_block(n / 2 * 2, to + 8);
}

static void
bc3_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    bc1_texel(n / 2 * 2, x, y, want);
    want[3] = bc4_value(n, x, y, 255);
}

static void
bc5_block(unsigned n, uint8_t *to)
{
    bc4_block(n, to);
    bc4_block(n + 30, to + 8);
}

static void
bc5_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    bc4_texel(n, x, y, want);
    want[1] = bc4_value(n + 30, x, y, 255);
}

static void
bc5s_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    bc4s_texel(n, x, y, want);
    want[1] = bc4_value(n + 30, x, y, 127);
}

static void
put(uint8_t *to, unsigned *at, unsigned v, unsigned bits)
{
    for (unsigned i = 0; i < bits; i++, ++*at)
        to[*at / 8] |= (uint8_t)((v >> i & 1) << *at % 8);
}

static unsigned
weight4(unsigned code)
{
    return (code * 64 + 7) / 15; /* 0, 4, 9, 13, ... as the table has them */
}

/* Codes of four bits: the texel's number, which the first one's missing bit agrees with. */
static void
put_codes(uint8_t *to, unsigned *at)
{
    put(to, at, 0, 3);
    for (unsigned i = 1; i < 16; i++)
        put(to, at, i, 4);
}

/* BC6H with ten bits for each end: red from 0 to the largest, green from n, blue 0. */
static void
bc6_block(unsigned n, uint8_t *to)
{
    unsigned at = 0;

    memset(to, 0, 16);
    put(to, &at, 0x03, 5);
    put(to, &at, 0, 10);
    put(to, &at, n, 10);
    put(to, &at, 0, 10);
    put(to, &at, 511, 10);
    put(to, &at, n, 10);
    put(to, &at, 0, 10);
    put_codes(to, &at);
}

static float
half(unsigned bits)
{
    unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;

    return exponent == 0 ? ldexpf((float)fraction, -24)
                         : ldexpf((float)(fraction | 1024), (int)exponent - 25);
}

static void
bc6_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    unsigned largest = ((511u << 16) + 0x8000) >> 10, g = n == 0 ? 0 : ((n << 16) + 0x8000) >> 10;

    want[0] = half(((largest * weight4(4 * y + x) + 32) >> 6) * 31 >> 6);
    want[1] = half(g * 31 >> 6);
    want[2] = 0;
    want[3] = 1;
}

static void
bc6s_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    unsigned g = n == 0 ? 0 : ((n << 15) + 0x4000) >> 9;

    want[0] = half(((0x7fff * weight4(4 * y + x) + 32) >> 6) * 31 >> 5);
    want[1] = half(g * 31 >> 5);
    want[2] = 0;
    want[3] = 1;
}

/* BC7's mode 6: seven bits and one for all channels of an end. */
static void
bc7_block(unsigned n, uint8_t *to)
{
    unsigned at = 0;

    memset(to, 0, 16);
    put(to, &at, 1 << 6, 7);
    for (unsigned c = 0; c < 4; c++) {
        put(to, &at, c * 20, 7);
        put(to, &at, c * 20 + n, 7);
    }
    put(to, &at, 0, 1);
    put(to, &at, 1, 1);
    put_codes(to, &at);
}

static void
bc7_texel(unsigned n, unsigned x, unsigned y, float want[4])
{
    unsigned w = weight4(4 * y + x);

    for (unsigned c = 0; c < 4; c++) {
        unsigned from = c * 40, to = c * 40 + 2 * n + 1;

        want[c] = (float)((from * (64 - w) + to * w + 32) >> 6) / 255;
    }
}

static const struct kind kinds[] = {
    {"BC1", CU_RES_VIEW_FORMAT_UNSIGNED_BC1, 8, bc1_block, bc1_texel},
    {"BC2", CU_RES_VIEW_FORMAT_UNSIGNED_BC2, 16, bc2_block, bc2_texel},
    {"BC3", CU_RES_VIEW_FORMAT_UNSIGNED_BC3, 16, bc3_block, bc3_texel},
    {"BC4", CU_RES_VIEW_FORMAT_UNSIGNED_BC4, 8, bc4_block, bc4_texel},
    {"BC4 signed", CU_RES_VIEW_FORMAT_SIGNED_BC4, 8, bc4_block, bc4s_texel},
    {"BC5", CU_RES_VIEW_FORMAT_UNSIGNED_BC5, 16, bc5_block, bc5_texel},
    {"BC5 signed", CU_RES_VIEW_FORMAT_SIGNED_BC5, 16, bc5_block, bc5s_texel},
    {"BC6H", CU_RES_VIEW_FORMAT_UNSIGNED_BC6H, 16, bc6_block, bc6_texel},
    {"BC6H signed", CU_RES_VIEW_FORMAT_SIGNED_BC6H, 16, bc6_block, bc6s_texel},
    {"BC7", CU_RES_VIEW_FORMAT_UNSIGNED_BC7, 16, bc7_block, bc7_texel},
};

/* -- arrays and objects
 * ---------------------------------------------------------------------------- */

/* A level's blocks are numbered from the level's first number on. */
static unsigned
first_number(unsigned level)
{
    return level == 0 ? 1 : level == 1 ? 17 : 21;
}

static CUmipmappedArray
make_levels(const struct kind *k)
{
    CUDA_ARRAY3D_DESCRIPTOR desc = {BLOCKS,       BLOCKS, 0, CU_AD_FORMAT_UNSIGNED_INT32,
                                    k->bytes / 4, 0};
    uint8_t blocks[BLOCKS * BLOCKS * 16];
    CUmipmappedArray mip;

    CU(cuMipmappedArrayCreate(&mip, &desc, LEVELS));
    for (unsigned level = 0; level < LEVELS; level++) {
        unsigned n = BLOCKS >> level;
        CUDA_MEMCPY2D up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                            .srcHost = blocks,
                            .srcPitch = (size_t)n * k->bytes,
                            .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                            .WidthInBytes = (size_t)n * k->bytes,
                            .Height = n};

        for (unsigned i = 0; i < n * n; i++)
            k->block(first_number(level) + i, blocks + (size_t)i * k->bytes);
        CU(cuMipmappedArrayGetLevel(&up.dstArray, mip, level));
        CU(cuMemcpy2D(&up));
    }
    return mip;
}

static CUDA_RESOURCE_VIEW_DESC
view_of(const struct kind *k)
{
    CUDA_RESOURCE_VIEW_DESC view = {
        .format = k->format, .width = TEXELS, .height = TEXELS, .lastMipmapLevel = LEVELS - 1};

    return view;
}

static CUresult
object_of(CUmipmappedArray mip, const CUDA_RESOURCE_VIEW_DESC *view, CUfilter_mode filter,
          unsigned flags, CUtexObject *object)
{
    CUDA_RESOURCE_DESC what = {.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY};
    CUDA_TEXTURE_DESC how = {.flags = CU_TRSF_NORMALIZED_COORDINATES | flags,
                             .filterMode = filter,
                             .maxMipmapLevelClamp = LEVELS};

    how.addressMode[0] = how.addressMode[1] = CU_TR_ADDRESS_MODE_CLAMP;
    what.res.mipmap.hMipmappedArray = mip;
    return cuTexObjectCreate(object, &what, &how, view);
}

/* All texels of a level, x moved by shift texels. */
static void
sample(CUtexObject object, unsigned level, float shift, float (*got)[4])
{
    unsigned n = TEXELS >> level;
    float at = (float)level;
    void *params[] = {&out, &object, &at, &shift};

    CU(cuLaunchKernel(kernel, 1, 1, 1, n, n, 1, 0, NULL, params, NULL));
    CU(cuMemcpyDtoH(got, out, (size_t)n * n * sizeof(*got)));
}

static bool
near(const float *got, const float *want)
{
    for (unsigned c = 0; c < 4; c++)
        if (!(fabsf(got[c] - want[c]) <= 1e-5f * (1 + fabsf(want[c]))))
            return false;
    return true;
}

static void
texel(const struct kind *k, unsigned level, unsigned x, unsigned y, float want[4])
{
    unsigned n = BLOCKS >> level;

    k->texel(first_number(level) + y / 4 * n + x / 4, x % 4, y % 4, want);
}

static void
check_level(const struct kind *k, CUtexObject object, unsigned level)
{
    static float got[TEXELS * TEXELS][4];
    unsigned n = TEXELS >> level, wrong = 0;
    float want[4];

    sample(object, level, 0.5f, got);
    for (unsigned i = 0; i < n * n; i++) {
        texel(k, level, i % n, i / n, want);
        wrong += !near(got[i], want);
    }
    EXPECT(wrong == 0);
    printf("%s, level %u: %u of %u texels\n", k->name, level, n * n - wrong, n * n);
}

/* Half way to the right neighbour, in its block or the next. */
static void
check_filter(const struct kind *k, CUtexObject object)
{
    static float got[TEXELS * TEXELS][4];
    unsigned wrong = 0;

    sample(object, 0, 1.0f, got);
    for (unsigned i = 0; i < TEXELS * TEXELS; i++) {
        unsigned x = i % TEXELS, next = x + 1 < TEXELS ? x + 1 : x;
        float a[4], b[4];

        texel(k, 0, x, i / TEXELS, a);
        texel(k, 0, next, i / TEXELS, b);
        for (unsigned c = 0; c < 4; c++)
            a[c] = (a[c] + b[c]) / 2;
        wrong += !near(got[i], a);
    }
    EXPECT(wrong == 0);
    printf("%s, filtered: %u wrong\n", k->name, wrong);
}

static void
formats(void)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const struct kind *k = &kinds[i];
        CUDA_RESOURCE_VIEW_DESC view = view_of(k), got;
        CUmipmappedArray mip = make_levels(k);
        CUtexObject object;

        CU(object_of(mip, &view, CU_TR_FILTER_MODE_POINT, 0, &object));
        CU(cuTexObjectGetResourceViewDesc(&got, object));
        EXPECT(got.format == k->format && got.width == TEXELS);
        for (unsigned level = 0; level < LEVELS; level++)
            check_level(k, object, level);
        CU(cuTexObjectDestroy(object));
        CU(object_of(mip, &view, CU_TR_FILTER_MODE_LINEAR, 0, &object));
        check_filter(k, object);
        CU(cuTexObjectDestroy(object));
        CU(cuMipmappedArrayDestroy(mip));
    }
}

/* Colours that are stored as sRGB come out linear, alpha as it is. */
static void
srgb(void)
{
    const struct kind *k = &kinds[COUNT_OF(kinds) - 1];
    CUDA_RESOURCE_VIEW_DESC view = view_of(k);
    static float got[TEXELS * TEXELS][4];
    CUmipmappedArray mip = make_levels(k);
    CUtexObject object;
    unsigned wrong = 0;

    CU(object_of(mip, &view, CU_TR_FILTER_MODE_POINT, CU_TRSF_SRGB, &object));
    sample(object, 0, 0.5f, got);
    for (unsigned i = 0; i < TEXELS * TEXELS; i++) {
        float want[4];

        texel(k, 0, i % TEXELS, i / TEXELS, want);
        for (unsigned c = 0; c < 3; c++)
            want[c] =
                want[c] <= 0.04045f ? want[c] / 12.92f : powf((want[c] + 0.055f) / 1.055f, 2.4f);
        wrong += !near(got[i], want);
    }
    EXPECT(wrong == 0);
    printf("sRGB: %u wrong\n", wrong);
    CU(cuTexObjectDestroy(object));
    CU(cuMipmappedArrayDestroy(mip));
}

static void
mistakes(void)
{
    const struct kind *bc1 = &kinds[0], *bc7 = &kinds[COUNT_OF(kinds) - 1];
    CUDA_RESOURCE_VIEW_DESC view = view_of(bc1);
    CUmipmappedArray mip = make_levels(bc1), floats;
    CUDA_ARRAY3D_DESCRIPTOR desc = {BLOCKS, BLOCKS, 0, CU_AD_FORMAT_FLOAT, 2, 0};
    CUtexObject object;

    view.format = bc7->format; /* its blocks have 16 bytes */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, object_of(mip, &view, CU_TR_FILTER_MODE_POINT, 0, &object));
    view = view_of(bc1);
    view.width = BLOCKS; /* blocks are not what is counted */
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, object_of(mip, &view, CU_TR_FILTER_MODE_POINT, 0, &object));
    view = view_of(bc1);
    view.format = (CUresourceViewFormat)(CU_RES_VIEW_FORMAT_UNSIGNED_BC7 + 1);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, object_of(mip, &view, CU_TR_FILTER_MODE_POINT, 0, &object));
    view = view_of(bc1);
    CU(cuMipmappedArrayCreate(&floats, &desc, LEVELS));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              object_of(floats, &view, CU_TR_FILTER_MODE_POINT, 0, &object));
    CU(cuMipmappedArrayDestroy(floats));
    CU(cuMipmappedArrayDestroy(mip));
    printf("mistakes: done\n");
}

int
main(void)
{
    CUdevice dev = drv_open();

    kernel = drv_kernel(texture_ptx, "sample_object");
    CU(cuMemAlloc(&out, TEXELS * TEXELS * 16));
    formats();
    srgb();
    mistakes();
    CU(cuMemFree(out));
    drv_close(dev);
    return drv_result("drv_blocks");
}
