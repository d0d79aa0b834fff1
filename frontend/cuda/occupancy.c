/* frontend/cuda/occupancy.c -- how many blocks fit, asked once for each shape
 *
 * Answers are kept by everything they depend on, the function's version included: setting an
 * attribute makes the old ones unreachable.
 */
#include "frontend/cuda/occupancy.h"

#include "cuda_api.h"
#include "frontend/core/perf.h"
#include "frontend/core/stats.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/attributes.h"
#include "frontend/cuda/function.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#define CACHE_ROWS 1024u
#define KEY_MAX    232u

struct key {
    uint32_t len; /* of bytes */
    uint8_t bytes[KEY_MAX];
};

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct {
        struct key key;
        uint64_t value;
    } row[CACHE_ROWS];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What every question depends on. */
struct common {
    uint32_t call;
    uint32_t version;
    uint64_t function;
    uint64_t context;
};

/* len 0 when it is too long to be kept. */
static void
key_make(struct key *key, const struct fe_call *call, const struct fe_function *f,
         const void *bytes, size_t len)
{
    struct common c = {.call = call->id,
                       .version = atomic_load(&f->version),
                       .function = f->object.wire,
                       .context = call->context->head.object.wire};

    key->len = 0;
    if (!fe_perf(FE_PERF_CACHE) || sizeof(c) + len > KEY_MAX)
        return;
    memcpy(key->bytes, &c, sizeof(c));
    memcpy(key->bytes + sizeof(c), bytes, len);
    key->len = (uint32_t)(sizeof(c) + len);
}

static uint32_t
row_of(const struct key *key)
{
    uint64_t h = 0xcbf29ce484222325ull;

    for (uint32_t i = 0; i < key->len; i++)
        h = (h ^ key->bytes[i]) * 0x100000001b3ull;
    return (uint32_t)(h ^ h >> 32) % CACHE_ROWS;
}

static bool
cache_get(const struct key *key, uint64_t *value_p)
{
    uint32_t i;
    bool found;

    if (key->len == 0)
        return false;
    i = row_of(key);
    pthread_mutex_lock(&cache.lock);
    found = cache.row[i].key.len == key->len &&
            memcmp(cache.row[i].key.bytes, key->bytes, key->len) == 0;
    if (found)
        *value_p = cache.row[i].value;
    pthread_mutex_unlock(&cache.lock);
    if (found)
        FE_COUNT_LOCAL();
    return found;
}

static void
cache_put(const struct key *key, uint64_t value)
{
    if (key->len == 0)
        return;
    pthread_mutex_lock(&cache.lock);
    cache.row[row_of(key)].key = *key;
    cache.row[row_of(key)].value = value;
    pthread_mutex_unlock(&cache.lock);
}

/* What fits of blocks of 1, 2, ... warps, for one kernel and one amount of shared memory. */
#define TABLE_ROWS 128u
#define WARPS_MAX  64

struct shape {
    struct common common;
    uint64_t shared_bytes;
    uint64_t flags;
};

static struct {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct {
        struct shape shape; /* function 0: none */
        uint32_t count;
        int32_t blocks[WARPS_MAX];
    } row[TABLE_ROWS];
} tables = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint32_t
table_of(const struct shape *shape)
{
    uint64_t h = shape->common.function * 0x9e3779b97f4a7c15ull ^ shape->shared_bytes ^
                 shape->common.context << 32;

    return (uint32_t)(h >> 40) % TABLE_ROWS;
}

static bool
table_get(const struct shape *shape, int warps, int *blocks_p)
{
    uint32_t i = table_of(shape);
    bool found;

    pthread_mutex_lock(&tables.lock);
    found = memcmp(&tables.row[i].shape, shape, sizeof(*shape)) == 0 &&
            (uint32_t)warps <= tables.row[i].count && tables.row[i].blocks[warps - 1] >= 0;
    if (found)
        *blocks_p = tables.row[i].blocks[warps - 1];
    pthread_mutex_unlock(&tables.lock);
    return found;
}

static CUresult
table_ask(struct fe_call *call, const struct shape *shape)
{
    struct wire_gpOccupancy_args args = {.function = shape->common.function,
                                         .shared_bytes = shape->shared_bytes,
                                         .flags = (uint32_t)shape->flags};
    struct wire_gpOccupancy_reply reply;
    uint32_t i = table_of(shape);
    CUresult cr = fe_call_next(call, WIRE_CALL_gpOccupancy);

    if (cr == CUDA_SUCCESS)
        FE_ASK(cr, call, gpOccupancy, &args, &reply);
    if (cr != CUDA_SUCCESS)
        return cr;
    pthread_mutex_lock(&tables.lock);
    tables.row[i].shape = *shape;
    tables.row[i].count = (uint32_t)gp_min_u64(reply.blocks_len, WARPS_MAX);
    for (uint32_t w = 0; w < tables.row[i].count; w++)
        tables.row[i].blocks[w] = reply.blocks[w];
    pthread_mutex_unlock(&tables.lock);
    return CUDA_SUCCESS;
}

/* By the table, which is asked for if need be; *known_p is false where it does not tell: blocks
 * that are no whole warps, and what fails. */
static CUresult
blocks_by_table(struct fe_call *call, const struct fe_function *f, int block_size,
                size_t shared_bytes, unsigned flags, int *blocks_p, bool *known_p)
{
    struct shape shape = {.common = {.version = atomic_load(&f->version),
                                     .function = f->object.wire,
                                     .context = call->context->head.object.wire},
                          .shared_bytes = shared_bytes,
                          .flags = flags};
    struct fe_state *state = fe_state_get(NULL);
    int warp = state != NULL ? fe_device_attribute(state, call->context->device,
                                                   CU_DEVICE_ATTRIBUTE_WARP_SIZE)
                             : 0;
    CUresult cr = CUDA_SUCCESS;

    *known_p = false;
    if (!fe_perf(FE_PERF_CACHE) || warp <= 0 || block_size % warp != 0 ||
        block_size / warp > WARPS_MAX ||
        !wire_call_set_has(&call->session->calls, WIRE_CALL_gpOccupancy))
        return CUDA_SUCCESS;
    *known_p = table_get(&shape, block_size / warp, blocks_p);
    if (*known_p) {
        FE_COUNT_LOCAL();
        return CUDA_SUCCESS;
    }
    cr = table_ask(call, &shape);
    if (cr == CUDA_SUCCESS)
        *known_p = table_get(&shape, block_size / warp, blocks_p);
    return cr;
}

CUresult
fe_occupancy_blocks(struct fe_call *call, struct fe_function *f, int block_size,
                    size_t shared_bytes, unsigned flags, int *blocks_p)
{
    struct wire_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_args args = {
        .function = f->object.wire,
        .block_size = block_size,
        .shared_bytes = shared_bytes,
        .flags = flags};
    struct wire_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_reply reply;
    enum wire_call before = (enum wire_call)call->id;
    const uint8_t *bytes;
    struct key key;
    bool known;
    uint64_t value;
    size_t len;
    CUresult cr;
    void *to;

    cr = blocks_by_table(call, f, block_size, shared_bytes, flags, blocks_p, &known);
    if (cr != CUDA_SUCCESS || known)
        return cr != CUDA_SUCCESS ? cr : fe_call_next(call, before);
    cr = fe_call_next(call, WIRE_CALL_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags);
    if (cr != CUDA_SUCCESS)
        return cr;
    key_make(&key, call, f, &args, sizeof(args));
    if (!cache_get(&key, &value)) {
        to = fe_post(call,
                     wire_size_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_args(&args));
        if (to == NULL)
            return fe_lost(call);
        wire_put_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_args(to, &args);
        fe_post_done(call);
        cr = fe_wait(call, &bytes, &len);
        if (cr != CUDA_SUCCESS)
            return cr;
        if (!wire_get_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_reply(bytes, len,
                                                                                 &reply))
            return fe_malformed(call);
        value = (uint64_t)(int64_t)reply.blocks;
        cache_put(&key, value);
    }
    *blocks_p = (int)(int64_t)value;
    return fe_call_next(call, before);
}

GP_EXPORT CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction handle, int block_size,
                                                     size_t shared_bytes, unsigned int flags)
{
    GP_USE();
    struct fe_function *f = NULL;
    struct fe_call call;
    CUresult cr;

    cr = fe_function_enter(&call, WIRE_CALL_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags,
                           handle, &f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (blocks == NULL || block_size <= 0 ||
        (flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE) != 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    return fe_leave(&call, fe_occupancy_blocks(&call, f, block_size, shared_bytes, flags, blocks));
}

GP_EXPORT CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction f, int block_size,
                                            size_t shared_bytes)
{
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, f, block_size, shared_bytes,
                                                                0);
}

GP_EXPORT CUresult
cuOccupancyAvailableDynamicSMemPerBlock(size_t *size, CUfunction handle, int blocks, int block_size)
{
    GP_USE();
    struct wire_cuOccupancyAvailableDynamicSMemPerBlock_args args = {.blocks = blocks,
                                                                     .block_size = block_size};
    struct wire_cuOccupancyAvailableDynamicSMemPerBlock_reply reply;
    struct fe_function *f = NULL;
    const uint8_t *bytes;
    struct fe_call call;
    struct key key;
    uint64_t value;
    size_t len;
    CUresult cr;
    void *to;

    cr = fe_function_enter(&call, WIRE_CALL_cuOccupancyAvailableDynamicSMemPerBlock, handle, &f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (size == NULL || blocks <= 0 || block_size <= 0)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    args.function = f->object.wire;
    key_make(&key, &call, f, &args, sizeof(args));
    if (!cache_get(&key, &value)) {
        to = fe_post(&call, wire_size_cuOccupancyAvailableDynamicSMemPerBlock_args(&args));
        if (to == NULL)
            return fe_leave(&call, fe_lost(&call));
        wire_put_cuOccupancyAvailableDynamicSMemPerBlock_args(to, &args);
        fe_post_done(&call);
        cr = fe_wait(&call, &bytes, &len);
        if (cr == CUDA_SUCCESS &&
            !wire_get_cuOccupancyAvailableDynamicSMemPerBlock_reply(bytes, len, &reply))
            cr = fe_malformed(&call);
        if (cr != CUDA_SUCCESS)
            return fe_leave(&call, cr);
        value = reply.bytes;
        cache_put(&key, value);
    }
    *size = value;
    return fe_leave(&call, CUDA_SUCCESS);
}

/* Both cluster questions have the same arguments and a number for an answer. */
static CUresult
clusters(enum wire_call id, int *answer, CUfunction handle, const CUlaunchConfig *config)
{
    GP_USE();
    struct wire_cuOccupancyMaxActiveClusters_args args;
    struct wire_cuOccupancyMaxActiveClusters_reply reply;
    struct fe_attributes attributes;
    uint8_t text[KEY_MAX];
    struct fe_function *f = NULL;
    const uint8_t *bytes;
    struct fe_call call;
    struct key key = {0};
    uint64_t value;
    size_t len;
    CUresult cr;
    void *to;

    cr = fe_function_enter(&call, id, handle, &f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (answer == NULL || config == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    cr = fe_attributes_read(&attributes, config->attrs, config->numAttrs);
    if (cr != CUDA_SUCCESS)
        return fe_leave(&call, cr);
    args = (struct wire_cuOccupancyMaxActiveClusters_args){
        .function = f->object.wire,
        .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
        .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
        .shared_bytes = config->sharedMemBytes,
        .attributes = attributes.list,
        .attributes_len = attributes.count,
    };
    len = wire_size_cuOccupancyMaxActiveClusters_args(&args);
    if (len <= sizeof(text)) {
        wire_put_cuOccupancyMaxActiveClusters_args(text, &args);
        key_make(&key, &call, f, text, len);
    }
    if (!cache_get(&key, &value)) {
        to = fe_post(&call, len);
        if (to == NULL)
            return fe_leave(&call, fe_lost(&call));
        wire_put_cuOccupancyMaxActiveClusters_args(to, &args);
        fe_post_done(&call);
        cr = fe_wait(&call, &bytes, &len);
        if (cr == CUDA_SUCCESS && !wire_get_cuOccupancyMaxActiveClusters_reply(bytes, len, &reply))
            cr = fe_malformed(&call);
        if (cr != CUDA_SUCCESS)
            return fe_leave(&call, cr);
        value = (uint64_t)(int64_t)reply.clusters;
        cache_put(&key, value);
    }
    *answer = (int)(int64_t)value;
    return fe_leave(&call, CUDA_SUCCESS);
}

GP_EXPORT CUresult
cuOccupancyMaxActiveClusters(int *answer, CUfunction f, const CUlaunchConfig *config)
{
    return clusters(WIRE_CALL_cuOccupancyMaxActiveClusters, answer, f, config);
}

GP_EXPORT CUresult
cuOccupancyMaxPotentialClusterSize(int *size, CUfunction f, const CUlaunchConfig *config)
{
    return clusters(WIRE_CALL_cuOccupancyMaxPotentialClusterSize, size, f, config);
}

/* -- the block size that keeps most threads busy ---------------------------------------- */

GP_EXPORT CUresult
cuOccupancyMaxPotentialBlockSizeWithFlags(int *min_grid, int *block, CUfunction f,
                                          CUoccupancyB2DSize shared_of, size_t shared_bytes,
                                          int limit, unsigned int flags)
{
    int device_max, func_max, per_sm_max, warp, blocks, best = 0, best_block = 0, best_blocks = 0;
    struct fe_context *ctx = fe_context_current();
    CUresult cr = CUDA_SUCCESS;
    struct fe_state *state = fe_state_get(&cr);

    if (state == NULL)
        return cr;
    if (ctx == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    cr = cuFuncGetAttribute(&func_max, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (min_grid == NULL || block == NULL || limit < 0 ||
        (flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    warp = fe_device_attribute(state, ctx->device, CU_DEVICE_ATTRIBUTE_WARP_SIZE);
    device_max = fe_device_attribute(state, ctx->device, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
    per_sm_max =
        fe_device_attribute(state, ctx->device, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
    if (func_max > device_max)
        func_max = device_max;
    if (limit <= 0 || limit > func_max)
        limit = func_max;
    if (warp <= 0)
        return CUDA_ERROR_INVALID_DEVICE;

    /* From large to small in whole warps; the first try is the limit itself. */
    for (int size = (limit + warp - 1) / warp * warp; size > 0; size -= warp) {
        int threads = size < limit ? size : limit;
        size_t shared = shared_of != NULL ? shared_of(threads) : shared_bytes;

        cr = cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&blocks, f, threads, shared,
                                                                  flags);
        if (cr != CUDA_SUCCESS)
            return cr;
        if ((int64_t)blocks * threads > best) {
            best = blocks * threads;
            best_block = threads;
            best_blocks = blocks;
        }
        if (best >= per_sm_max)
            break;
    }
    if (best == 0) /* not even one block fits */
        return CUDA_ERROR_INVALID_VALUE;
    *block = best_block;
    *min_grid = best_blocks * (int)state->limits[ctx->device].multiprocessors;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuOccupancyMaxPotentialBlockSize(int *min_grid, int *block, CUfunction f,
                                 CUoccupancyB2DSize shared_of, size_t shared_bytes, int limit)
{
    return cuOccupancyMaxPotentialBlockSizeWithFlags(min_grid, block, f, shared_of, shared_bytes,
                                                     limit, 0);
}
