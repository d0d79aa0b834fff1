/* backend/driver/soft/dev/heap.c -- device malloc and free */
#include "backend/driver/soft/dev/heap.h"

#include "backend/driver/soft/dev/mem.h"

#include <string.h>

#define HEAP_ALIGN  16u
#define HEAP_HEADER 16u /* before each block: its length */

struct sd_heap {
    uint64_t base;
    uint64_t bytes;
    struct sd_ranges ranges;
    uint8_t *starts; /* bit per 16 bytes: a block begins here */
};

/* heap_lock is held. */
static struct sd_heap *
heap_create(CUcontext ctx)
{
    struct sd_heap *heap = calloc(1, sizeof(*heap));

    if (heap == NULL)
        return NULL;
    heap->bytes = gp_align_up_u64(sd_ctx_limit(ctx, CU_LIMIT_MALLOC_HEAP_SIZE), HEAP_ALIGN);
    heap->starts = calloc(1, heap->bytes / HEAP_ALIGN / 8 + 1);
    if (heap->starts == NULL)
        goto err_free;
    if (sd_mem_alloc(ctx->dev, ctx, NULL, SD_MEM_VARIABLE, heap->bytes, 0, &heap->base) !=
        CUDA_SUCCESS)
        goto err_free_starts;
    if (!sd_ranges_init(&heap->ranges, 0, heap->bytes))
        goto err_free_starts;
    return heap;

err_free_starts:
    free(heap->starts);
err_free:
    free(heap);
    return NULL;
}

uint64_t
sd_heap_alloc(CUcontext ctx, uint64_t bytes)
{
    uint64_t len = gp_align_up_u64(bytes, HEAP_ALIGN) + HEAP_HEADER;
    uint64_t at = 0, address = 0;

    if (bytes == 0 || len < bytes)
        return 0;
    pthread_mutex_lock(&ctx->heap_lock);
    if (ctx->heap == NULL)
        ctx->heap = heap_create(ctx);
    if (ctx->heap != NULL && sd_ranges_take(&ctx->heap->ranges, len, HEAP_ALIGN, &at)) {
        memcpy((void *)(uintptr_t)(ctx->heap->base + at), &len, sizeof(len));
        ctx->heap->starts[at / HEAP_ALIGN / 8] |= (uint8_t)(1u << (at / HEAP_ALIGN % 8));
        address = ctx->heap->base + at + HEAP_HEADER;
    }
    pthread_mutex_unlock(&ctx->heap_lock);
    return address;
}

void
sd_heap_free(CUcontext ctx, uint64_t address)
{
    struct sd_heap *heap;
    uint64_t at, len;

    pthread_mutex_lock(&ctx->heap_lock);
    heap = ctx->heap;
    at = heap != NULL ? address - HEAP_HEADER - heap->base : UINT64_MAX;
    if (heap != NULL && at < heap->bytes && at % HEAP_ALIGN == 0 &&
        (heap->starts[at / HEAP_ALIGN / 8] & (1u << (at / HEAP_ALIGN % 8))) != 0) {
        /* The length lies in device memory, where a kernel may have overwritten it. */
        memcpy(&len, (void *)(uintptr_t)(heap->base + at), sizeof(len));
        heap->starts[at / HEAP_ALIGN / 8] &= (uint8_t)~(1u << (at / HEAP_ALIGN % 8));
        if (len >= HEAP_HEADER && len % HEAP_ALIGN == 0 && len <= heap->bytes - at)
            (void)sd_ranges_give(&heap->ranges, at, len);
    }
    pthread_mutex_unlock(&ctx->heap_lock);
}

bool
sd_heap_in_use(CUcontext ctx)
{
    bool in_use;

    pthread_mutex_lock(&ctx->heap_lock);
    in_use = ctx->heap != NULL;
    pthread_mutex_unlock(&ctx->heap_lock);
    return in_use;
}

void
sd_heap_destroy(CUcontext ctx)
{
    struct sd_heap *heap;

    pthread_mutex_lock(&ctx->heap_lock);
    heap = ctx->heap;
    ctx->heap = NULL;
    pthread_mutex_unlock(&ctx->heap_lock);
    if (heap == NULL)
        return;
    sd_ranges_fini(&heap->ranges);
    free(heap->starts);
    free(heap);
}
