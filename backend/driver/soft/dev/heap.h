/* backend/driver/soft/dev/heap.h -- device malloc and free of one context
 *
 * One allocation of CU_LIMIT_MALLOC_HEAP_SIZE, made at the first malloc of a kernel.
 * Threads: any.
 */
#ifndef SD_HEAP_H
#define SD_HEAP_H

#include "backend/driver/soft/dev/ctx.h"

/* 0 when full. */
uint64_t sd_heap_alloc(CUcontext ctx, uint64_t bytes);
/* Unknown addresses are ignored, as freeing them twice is undefined on a device. */
void sd_heap_free(CUcontext ctx, uint64_t address);
bool sd_heap_in_use(CUcontext ctx);
/* The context ends; its memory is released with all other of its memory. */
void sd_heap_destroy(CUcontext ctx);

#endif
