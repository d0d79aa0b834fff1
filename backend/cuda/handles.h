/* backend/cuda/handles.h -- what the client's ids stand for
 *
 * An id is generation << 32 | index, minted by the client, index from 1, generation from 1. A slot
 * is used again with a higher generation only, so a stale id never names a later object.
 *
 * Pure, without locks: one thread. Hostile input: every id.
 */
#ifndef BE_HANDLES_H
#define BE_HANDLES_H

#include "protocol/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define BE_HANDLE_KINDS     32
#define BE_HANDLE_INDEX_MAX (1u << 20)

struct be_handle_slot {
    void *object;        /* NULL: dead */
    uint32_t generation; /* of the object, or of the last one */
    uint32_t context;    /* wire index of the context it belongs to; 0: none */
    bool fixed;          /* graphs or other sessions hold the object: it is not replaced */
};

struct be_handles {
    struct be_handle_chunk **chunks[BE_HANDLE_KINDS]; /* lazily made */
    uint32_t highest[BE_HANDLE_KINDS];                /* index in use so far */
};

void be_handles_init(struct be_handles *handles);
void be_handles_fini(struct be_handles *handles);

/* GP_ERR_INVALID for an id that cannot be (index 0, too high, generation not above the slot's),
 * GP_ERR_NO_MEMORY. */
GP_CHECK enum gp_status be_handles_add(struct be_handles *handles, unsigned kind, uint64_t id,
                                       void *object, uint32_t context);
/* The live slot of an id, or NULL. */
struct be_handle_slot *be_handles_find(const struct be_handles *handles, unsigned kind,
                                       uint64_t id);
/* The live slot at an index, whatever its generation, or NULL. */
struct be_handle_slot *be_handles_at(const struct be_handles *handles, unsigned kind,
                                     uint32_t index);
void be_handles_remove(struct be_handle_slot *slot);
/* Indexes run from 1 to this one. */
uint32_t be_handles_highest(const struct be_handles *handles, unsigned kind);

#endif
