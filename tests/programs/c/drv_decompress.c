/* tests/programs/c/drv_decompress.c -- batches that the device decompresses, where it has the
 * engine
 *
 * Deflate comes from zlib at its highest level; blocks of LZ4 and Snappy are made here, with
 * literals, matches that overlap themselves and long lengths.
 */
#include "drv.h"

#define ALGORITHMS                                                                                 \
    (CU_MEM_DECOMPRESS_ALGORITHM_DEFLATE | CU_MEM_DECOMPRESS_ALGORITHM_SNAPPY |                    \
     CU_MEM_DECOMPRESS_ALGORITHM_LZ4)
#define LINES    60
#define REPEAT   1000u
#define OPS_MANY 700u
#define ROOM     (64u << 10)

/* clang-format off */
static const uint8_t deflated[] = {
    0x6d, 0xd6, 0x3b, 0x4e, 0xc5, 0x40, 0x0c, 0x85, 0xe1, 0xad, 0x64, 0x01, 0x14, 0xe3, 0xc7, 0xcc,
    0x24, 0x62, 0x3d, 0x17, 0x81, 0x74, 0x05, 0x4d, 0x0a, 0x96, 0x4f, 0x41, 0x07, 0x5f, 0x1b, 0x1d,
    0x39, 0xce, 0xf9, 0xed, 0xe3, 0x3c, 0x3f, 0x3e, 0x1f, 0xc7, 0x38, 0xbe, 0xde, 0x8e, 0xfb, 0xfd,
    0x71, 0xdc, 0x8f, 0xef, 0xfb, 0xe5, 0x78, 0xfe, 0x7b, 0xf6, 0xfa, 0xfb, 0x2c, 0xa0, 0x0b, 0xe8,
    0x12, 0xba, 0x86, 0xae, 0xa0, 0xbb, 0xa0, 0x6b, 0xbd, 0x77, 0x41, 0x38, 0x21, 0xcc, 0x09, 0xe1,
    0x82, 0xb0, 0x54, 0x71, 0xeb, 0x53, 0xd4, 0xe3, 0x09, 0xe1, 0xd2, 0x47, 0x5f, 0x10, 0x9e, 0x72,
    0x31, 0x84, 0x25, 0x06, 0xc1, 0x90, 0x4c, 0xb2, 0xaa, 0xe0, 0x44, 0xab, 0xd3, 0x28, 0xfa, 0xae,
    0xaf, 0x0f, 0x22, 0xba, 0xe4, 0x68, 0x10, 0x12, 0x29, 0xc5, 0x22, 0x4f, 0x56, 0x15, 0xa8, 0x3c,
    0xd9, 0xab, 0x50, 0x55, 0xd2, 0x81, 0x8b, 0x73, 0xc2, 0x99, 0x17, 0xad, 0x26, 0xad, 0x14, 0xad,
    0x6e, 0x56, 0xe5, 0x2a, 0x9d, 0xea, 0x35, 0x45, 0x6b, 0xa6, 0x1c, 0x48, 0xd1, 0x9a, 0x5b, 0xbe,
    0xa6, 0x68, 0x2d, 0xd2, 0x4a, 0xd1, 0x5a, 0xae, 0x2a, 0x5a, 0xdb, 0xbd, 0x8a, 0xd6, 0xb6, 0x03,
    0x5c, 0x2d, 0xfa, 0x5a, 0xa2, 0x75, 0x91, 0x56, 0x89, 0xd6, 0xc5, 0x19, 0x28, 0xee, 0xd6, 0xe0,
    0x68, 0x15, 0x97, 0x6b, 0x70, 0x62, 0x8b, 0xdb, 0x15, 0x5c, 0x84, 0x9a, 0x8c, 0x02, 0x12, 0xab,
    0x45, 0x2d, 0xd7, 0xb6, 0x84, 0x2c, 0x8a, 0x69, 0x50, 0xa7, 0x33, 0x86, 0x3e, 0x08, 0x5a, 0x4c,
    0x66, 0x57, 0x33, 0x11, 0x17, 0xb1, 0x35, 0x23, 0x71, 0x31, 0x69, 0x9b, 0xdc, 0x36, 0xe3, 0xbb,
    0xc9, 0xed, 0xe4, 0x4d, 0x68, 0xa7, 0x22, 0x0f, 0x4d, 0x33, 0x16, 0x07, 0xb9, 0x35, 0x73, 0x31,
    0x78, 0x12, 0x9b, 0xc1, 0x98, 0x83, 0xfd, 0x8a, 0x5b, 0xd6, 0xa0, 0x0f, 0xe2, 0x96, 0x3d, 0xe4,
    0xef, 0x1c, 0xcc, 0x71, 0x72, 0x9b, 0xe2, 0x96, 0xcb, 0x75, 0xc5, 0x2d, 0x37, 0xfb, 0x9d, 0xc5,
    0x03, 0x41, 0x1f, 0xa6, 0xb8, 0xe5, 0xe5, 0x5f, 0x0e, 0x71, 0x2b, 0x73, 0x9b, 0xfc, 0xed, 0x08,
    0xce, 0xc3, 0xdc, 0xbe, 0x52, 0xec, 0x97, 0x17, 0xad, 0x38, 0xbf, 0x93, 0x27, 0xad, 0xff, 0xee,
    0xc5, 0x0f,
};
/* clang-format on */

struct packed {
    CUmemDecompressAlgorithm algorithm;
    uint8_t bytes[8192];
    size_t length;
    uint8_t plain[8192];
    size_t plain_length;
};

static void
make_deflate(struct packed *p)
{
    p->algorithm = CU_MEM_DECOMPRESS_ALGORITHM_DEFLATE;
    memcpy(p->bytes, deflated, sizeof(deflated));
    p->length = sizeof(deflated);
    for (int i = 0; i < LINES; i++)
        p->plain_length +=
            (size_t)snprintf((char *)p->plain + p->plain_length, sizeof(p->plain) - p->plain_length,
                             "line %d of the text, line %d of the text; ", i, i * i);
}

/* "abc" and REPEAT more bytes of it, then "end". */
static void
plain_of_blocks(struct packed *p)
{
    for (size_t i = 0; i < 3 + REPEAT; i++)
        p->plain[i] = (uint8_t) "abc"[i % 3];
    memcpy(p->plain + 3 + REPEAT, "endendend", 9);
    p->plain_length = 3 + REPEAT + 9;
}

static void
make_lz4(struct packed *p)
{
    uint8_t *at = p->bytes;
    size_t rest = REPEAT - 4 - 15;

    p->algorithm = CU_MEM_DECOMPRESS_ALGORITHM_LZ4;
    plain_of_blocks(p);
    *at++ = 0x3f; /* three literals, a match of 15 + 4 and more */
    memcpy(at, "abc", 3);
    at += 3;
    *at++ = 3; /* three back */
    *at++ = 0;
    for (; rest >= 255; rest -= 255)
        *at++ = 255;
    *at++ = (uint8_t)rest;
    *at++ = 0x90; /* nine literals end it */
    memcpy(at, "endendend", 9);
    p->length = (size_t)(at + 9 - p->bytes);
}

static void
make_snappy(struct packed *p)
{
    uint8_t *at = p->bytes;
    size_t rest = REPEAT;

    p->algorithm = CU_MEM_DECOMPRESS_ALGORITHM_SNAPPY;
    plain_of_blocks(p);
    *at++ = (uint8_t)(p->plain_length | 0x80); /* 1012 < 2^14 */
    *at++ = (uint8_t)(p->plain_length >> 7);
    *at++ = 2 << 2; /* three literals */
    memcpy(at, "abc", 3);
    at += 3;
    *at++ = (uint8_t)(1 | (8 - 4) << 2); /* eight bytes, three back, the short form */
    *at++ = 3;
    for (rest -= 8; rest != 0; rest -= rest < 64 ? rest : 64) {
        *at++ = (uint8_t)(2 | ((rest < 64 ? rest : 64) - 1) << 2);
        *at++ = 3;
        *at++ = 0;
    }
    *at++ = 60 << 2; /* nine literals, their number in a byte of its own */
    *at++ = 8;
    memcpy(at, "endendend", 9);
    p->length = (size_t)(at + 9 - p->bytes);
}

struct place {
    CUdeviceptr src, dst, told;
};

static CUmemDecompressParams
operation(const struct packed *p, const struct place *at)
{
    CUmemDecompressParams op;

    memset(&op, 0, sizeof(op));
    op.algo = p->algorithm;
    op.srcNumBytes = p->length;
    op.dstNumBytes = p->plain_length;
    op.src = (const void *)(uintptr_t)at->src;
    op.dst = (void *)(uintptr_t)at->dst;
    op.dstActBytes = (cuuint32_t *)(uintptr_t)at->told;
    return op;
}

static bool
came_out(const struct packed *p, const struct place *at)
{
    uint8_t got[8192];

    CU(cuMemcpyDtoH(got, at->dst, p->plain_length));
    return drv_word_at(at->told) == p->plain_length && memcmp(got, p->plain, p->plain_length) == 0;
}

/* A piece of memory for each side, put up by `base`. */
static struct place
place_in(CUdeviceptr base, const struct packed *p)
{
    struct place at = {base, base + (16u << 10), base + (32u << 10)};

    CU(cuMemsetD8(base, 0x5a, ROOM));
    CU(cuMemcpyHtoD(at.src, p->bytes, p->length));
    return at;
}

static void
one_batch(const struct packed *packed, CUdeviceptr base)
{
    CUmemDecompressParams ops[3];
    struct place at[3];
    size_t index = 7;
    CUstream stream;

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (unsigned i = 0; i < 3; i++) {
        at[i] = place_in(base + i * ROOM, &packed[i]);
        ops[i] = operation(&packed[i], &at[i]);
    }
    ops[1].dstNumBytes = 0; /* how many is not told */
    CU(cuMemBatchDecompressAsync(ops, 3, 0, &index, stream));
    memset(ops, 0xff, sizeof(ops)); /* they are read at the call */
    CU(cuStreamSynchronize(stream));
    for (unsigned i = 0; i < 3; i++)
        printf("%s: %zu bytes of %zu: %s\n", (const char *[]){"deflate", "lz4", "snappy"}[i],
               packed[i].plain_length, packed[i].length,
               EXPECT(came_out(&packed[i], &at[i])) ? "right" : "wrong");
    CU(cuStreamDestroy(stream));
}

/* More than fit in one message; each behind the fill of its destination in stream order. */
static void
many(const struct packed *p)
{
    static CUmemDecompressParams ops[OPS_MANY];
    static uint32_t told[OPS_MANY];
    CUdeviceptr src, dst, act;
    unsigned right = 0;

    CU(cuMemAlloc(&src, p->length));
    CU(cuMemAlloc(&dst, OPS_MANY * p->plain_length));
    CU(cuMemAlloc(&act, sizeof(told)));
    CU(cuMemcpyHtoD(src, p->bytes, p->length));
    CU(cuMemsetD8Async(act, 0, sizeof(told), NULL));
    for (unsigned i = 0; i < OPS_MANY; i++)
        ops[i] = operation(p, &(struct place){src, dst + i * p->plain_length, act + 4ull * i});
    CU(cuMemBatchDecompressAsync(ops, OPS_MANY, 0, NULL, NULL));
    CU(cuMemcpyDtoH(told, act, sizeof(told)));
    for (unsigned i = 0; i < OPS_MANY; i++)
        right += told[i] == p->plain_length;
    EXPECT(right == OPS_MANY);
    EXPECT(came_out(p, &(struct place){src, dst + (OPS_MANY - 1) * p->plain_length,
                                       act + 4ull * (OPS_MANY - 1)}));
    CU(cuMemFree(src));
    CU(cuMemFree(dst));
    CU(cuMemFree(act));
    printf("many: %u\n", right);
}

static int
capable(CUdeviceptr p)
{
    int yes = -1;

    CU(cuPointerGetAttribute(&yes, CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE, p));
    return yes;
}

static CUdeviceptr
mapped(unsigned short usage, size_t bytes, CUmemGenericAllocationHandle *handle_p)
{
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUdeviceptr p;

    prop.allocFlags.usage = usage;
    CU(cuMemAddressReserve(&p, bytes, 0, 0, 0));
    CU(cuMemCreate(handle_p, bytes, &prop, 0));
    CU(cuMemMap(p, bytes, 0, *handle_p, 0));
    CU(cuMemSetAccess(p, bytes, &access, 1));
    return p;
}

static void
unmapped(CUdeviceptr p, size_t bytes, CUmemGenericAllocationHandle handle)
{
    CU(cuMemUnmap(p, bytes));
    CU(cuMemRelease(handle));
    CU(cuMemAddressFree(p, bytes));
}

/* Which memory was made for it. */
static void
memories(const struct packed *p, CUdeviceptr plain)
{
    CUmemPoolProps props = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                            .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0},
                            .usage = CU_MEM_POOL_CREATE_USAGE_HW_DECOMPRESS};
    CUmemAllocationProp prop = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemGenericAllocationHandle handles[2];
    CUdeviceptr with, without, pooled, other, managed;
    CUmemDecompressParams op;
    CUmemoryPool pool;
    struct place at;
    size_t granule, index;

    CU(cuMemGetAllocationGranularity(&granule, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    with = mapped(CU_MEM_CREATE_USAGE_HW_DECOMPRESS, granule, &handles[0]);
    without = mapped(0, granule, &handles[1]);
    CU(cuMemPoolCreate(&pool, &props));
    CU(cuMemAllocFromPoolAsync(&pooled, ROOM, pool, NULL));
    CU(cuMemAllocAsync(&other, ROOM, NULL));
    CU(cuMemAllocManaged(&managed, ROOM, CU_MEM_ATTACH_GLOBAL));
    printf("capable: cuMemAlloc %d, cuMemCreate %d and %d, pools %d and %d, managed %d\n",
           capable(plain), capable(with), capable(without), capable(pooled), capable(other),
           capable(managed));
    EXPECT(capable(plain) == 1 && capable(with) == 1 && capable(without) == 0 &&
           capable(pooled) == 1 && capable(other) == 0 && capable(managed) == 0);

    at = place_in(with, p);
    op = operation(p, &at);
    CU(cuMemBatchDecompressAsync(&op, 1, 0, NULL, NULL));
    EXPECT(came_out(p, &at));
    at = place_in(pooled, p);
    op = operation(p, &at);
    CU(cuMemBatchDecompressAsync(&op, 1, 0, NULL, NULL));
    EXPECT(came_out(p, &at));
    for (unsigned i = 0; i < 3; i++) {
        at = (struct place){i == 0 ? without : plain, i == 1 ? other : plain,
                            i == 2 ? managed : plain};
        op = operation(p, &at);
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync(&op, 1, 0, &index, NULL));
        EXPECT(index == 0);
    }
    unmapped(with, granule, handles[0]);
    unmapped(without, granule, handles[1]);
    CU(cuMemFreeAsync(pooled, NULL));
    CU(cuMemFreeAsync(other, NULL));
    CU(cuMemFree(managed));
    CU(cuMemPoolDestroy(pool));
}

/* Errors of the call; nothing of a batch runs then. */
static void
mistakes(const struct packed *p, CUdeviceptr base)
{
    struct place at = place_in(base, p);
    CUmemDecompressParams good = operation(p, &at), ops[3];
    size_t index = 5;
    CUstream stream;
    CUgraph graph;

    CU(cuMemsetD32(at.told, 17, 1));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync(NULL, 1, 0, &index, NULL));
    EXPECT(index == SIZE_MAX);
    index = 5;
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync(&good, 0, 0, &index, NULL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync(&good, 1, 1, &index, NULL));
    EXPECT(index == SIZE_MAX);
    for (unsigned i = 0; i < 6; i++) {
        ops[0] = ops[1] = ops[2] = good;
        if (i == 0)
            ops[2].algo = CU_MEM_DECOMPRESS_UNSUPPORTED;
        else if (i == 1)
            ops[2].algo = (CUmemDecompressAlgorithm)ALGORITHMS;
        else if (i == 2)
            ops[2].padding[19] = 1;
        else if (i == 3)
            ops[2].srcNumBytes = 0;
        else if (i == 4)
            ops[2].src = p->bytes; /* no memory of the device */
        else
            ops[2].dstActBytes = NULL;
        index = 5;
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync(ops, 3, 0, &index, NULL));
        EXPECT(index == 2);
        EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemBatchDecompressAsync(ops, 3, 0, NULL, NULL));
    }
    EXPECT(drv_word_at(at.told) == 17);

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
              cuMemBatchDecompressAsync(&good, 1, 0, NULL, stream));
    EXPECT_CU(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph));
    CU(cuStreamDestroy(stream));
    printf("mistakes are told\n");
}

/* Input that is damaged is a fault of the context. */
static void
damaged(const struct packed *packed, CUdeviceptr base)
{
    struct packed bad = packed[2];
    struct place at;
    CUmemDecompressParams op;
    CUresult cr;

    bad.bytes[bad.length - 12] = 0xff; /* a copy from far before the beginning */
    at = place_in(base, &bad);
    op = operation(&bad, &at);
    CU(cuMemBatchDecompressAsync(&op, 1, 0, NULL, NULL));
    cr = cuCtxSynchronize();
    EXPECT(cr != CUDA_SUCCESS);
    EXPECT_CU(cr, cuCtxSynchronize());
    printf("damaged input: %s\n", drv_name(cr));
}

int
main(void)
{
    static struct packed packed[3];
    CUdevice dev = drv_open();
    int mask = 0, max = 0;
    CUdeviceptr base;

    CU(cuDeviceGetAttribute(&mask, CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK, dev));
    CU(cuDeviceGetAttribute(&max, CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_MAXIMUM_LENGTH, dev));
    printf("algorithms %d\n", mask);
    if (mask != ALGORITHMS) {
        drv_close(dev);
        return drv_result("drv_decompress");
    }
    EXPECT(max >= 1 << 20);
    make_deflate(&packed[0]);
    make_lz4(&packed[1]);
    make_snappy(&packed[2]);
    CU(cuMemAlloc(&base, 3 * ROOM));
    one_batch(packed, base);
    many(&packed[2]);
    memories(&packed[1], base);
    mistakes(&packed[1], base);
    damaged(packed, base);
    return drv_result("drv_decompress");
}
