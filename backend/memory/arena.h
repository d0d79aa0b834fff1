/* backend/memory/arena.h -- pinned host memory for what is paged out of a device
 *
 * Slabs of 64 MiB, each pinned once and kept: pinning for each block would cost several times what
 * the copy does. A block never reaches over the end of a slab. It belongs to one session's process,
 * so that no other one can read it.
 *
 * Threads: any. Lock: arena.lock (rank 42); held over pinning, which does not wait for the device.
 */
#ifndef BE_ARENA_H
#define BE_ARENA_H

#include "backend/driver/driver.h"

#include <stdint.h>

#define BE_ARENA_SLAB (64ull << 20)

struct be_arena;

/* unit: of blocks, a power of two of at least 64 KiB. */
struct be_arena *be_arena_create(const struct be_driver *driver, uint64_t unit);
/* Nothing of it is used any more. */
void be_arena_destroy(struct be_arena *arena);
/* A block of whole units, at most BE_ARENA_SLAB; NULL: the host has no memory. A context is
 * current, by which slabs are pinned. */
void *be_arena_take(struct be_arena *arena, uint64_t bytes);
void be_arena_give(struct be_arena *arena, void *block, uint64_t bytes);
/* Slabs without a block go back to the system but for keep_bytes. */
void be_arena_trim(struct be_arena *arena, uint64_t keep_bytes);
/* Of slabs. */
uint64_t be_arena_bytes(struct be_arena *arena);

#endif
