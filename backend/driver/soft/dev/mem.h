/* backend/driver/soft/dev/mem.h -- the memory of one device
 *
 * A device's memory is one sparse memory file, mapped whole at a fixed high address, so that the
 * address of an allocation is the arena's base plus its place in the file, and physical objects
 * of the virtual memory management are pieces of the same file mapped elsewhere. Places are
 * plentiful (several times the device's memory); what runs out is the count of bytes.
 *
 * Threads: any.
 */
#ifndef SD_MEM_H
#define SD_MEM_H

#include "backend/driver/soft/dev/span.h"

#define SD_MEM_ALIGN   512u       /* of cuMemAlloc */
#define SD_GRANULARITY (2u << 20) /* of VMM */

/* Sorted free ranges of an address space. */
struct sd_ranges {
    struct sd_range {
        uint64_t base;
        uint64_t len;
    } * free;
    size_t count;
    size_t size;
};

bool sd_ranges_init(struct sd_ranges *r, uint64_t base, uint64_t len);
void sd_ranges_fini(struct sd_ranges *r);
/* First fit; align is a power of two. */
bool sd_ranges_take(struct sd_ranges *r, uint64_t len, uint64_t align, uint64_t *base_p);
/* False only without host memory: the range is then lost. */
bool sd_ranges_give(struct sd_ranges *r, uint64_t base, uint64_t len);

/* Creates dev->arena. Errors: CUDA_ERROR_OUT_OF_MEMORY (logged). */
CUresult sd_arena_create(struct sd_device *dev);

uint64_t sd_arena_base(const struct sd_device *dev);
uint64_t sd_arena_bytes(const struct sd_device *dev); /* of addresses from the base on */
int sd_arena_fd(const struct sd_device *dev);
void sd_arena_info(const struct sd_device *dev, uint64_t *free_p, uint64_t *total_p);

/* Counts bytes against the device's memory. Errors: CUDA_ERROR_OUT_OF_MEMORY. */
CUresult sd_arena_charge(struct sd_device *dev, uint64_t bytes);
void sd_arena_uncharge(struct sd_device *dev, uint64_t bytes);

/* A piece of the file, charged. address = sd_arena_base + place. */
CUresult sd_arena_take(struct sd_device *dev, uint64_t bytes, uint64_t align, uint64_t *place_p);
void sd_arena_give(struct sd_device *dev, uint64_t place, uint64_t bytes);

/*
 * An allocation in dev's arena with an entry in the address map. owner NULL: it belongs to
 * ctx and goes with it.
 * Errors: CUDA_ERROR_OUT_OF_MEMORY.
 */
CUresult sd_mem_alloc(struct sd_device *dev, struct CUctx_st *ctx, void *owner,
                      enum sd_mem_kind kind, uint64_t bytes, unsigned flags, uint64_t *addr_p);
/* Gives back what an entry, already taken out of the map, stood on. */
void sd_mem_release(const struct sd_alloc *alloc);
/* All that belongs to ctx (owner NULL) or to owner. */
void sd_mem_release_all(const struct CUctx_st *ctx, const void *owner);

/* The body of cuMemFree: waits for the work that may still use it. */
CUresult sd_mem_free(struct CUctx_st *ctx, uint64_t addr);

#endif
