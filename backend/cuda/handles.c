/* backend/cuda/handles.c -- slots in chunks, one row of chunks for each kind */
#include "backend/cuda/handles.h"

#include <stdlib.h>
#include <string.h>

#define BE_CHUNK_SLOTS 1024u
#define BE_CHUNKS      (BE_HANDLE_INDEX_MAX / BE_CHUNK_SLOTS)

struct be_handle_chunk {
    struct be_handle_slot slots[BE_CHUNK_SLOTS];
};

void
be_handles_init(struct be_handles *handles)
{
    memset(handles, 0, sizeof(*handles));
}

void
be_handles_fini(struct be_handles *handles)
{
    for (unsigned kind = 0; kind < BE_HANDLE_KINDS; kind++) {
        if (handles->chunks[kind] == NULL)
            continue;
        for (uint32_t i = 0; i < BE_CHUNKS; i++)
            free(handles->chunks[kind][i]);
        free(handles->chunks[kind]);
    }
    memset(handles, 0, sizeof(*handles));
}

struct be_handle_slot *
be_handles_at(const struct be_handles *handles, unsigned kind, uint32_t index)
{
    struct be_handle_chunk *chunk;
    struct be_handle_slot *slot;

    if (kind >= BE_HANDLE_KINDS || index == 0 || index >= BE_HANDLE_INDEX_MAX ||
        handles->chunks[kind] == NULL)
        return NULL;
    chunk = handles->chunks[kind][index / BE_CHUNK_SLOTS];
    if (chunk == NULL)
        return NULL;
    slot = &chunk->slots[index % BE_CHUNK_SLOTS];
    return slot->object != NULL ? slot : NULL;
}

struct be_handle_slot *
be_handles_find(const struct be_handles *handles, unsigned kind, uint64_t id)
{
    struct be_handle_slot *slot = be_handles_at(handles, kind, (uint32_t)id);

    return slot != NULL && slot->generation == (uint32_t)(id >> 32) ? slot : NULL;
}

enum gp_status
be_handles_add(struct be_handles *handles, unsigned kind, uint64_t id, void *object,
               uint32_t context)
{
    uint32_t index = (uint32_t)id, generation = (uint32_t)(id >> 32);
    struct be_handle_chunk **chunk_p;
    struct be_handle_slot *slot;

    if (kind >= BE_HANDLE_KINDS || index == 0 || index >= BE_HANDLE_INDEX_MAX || generation == 0 ||
        object == NULL)
        return GP_ERR_INVALID;
    if (handles->chunks[kind] == NULL) {
        handles->chunks[kind] = calloc(BE_CHUNKS, sizeof(*handles->chunks[kind]));
        if (handles->chunks[kind] == NULL)
            return GP_ERR_NO_MEMORY;
    }
    chunk_p = &handles->chunks[kind][index / BE_CHUNK_SLOTS];
    if (*chunk_p == NULL) {
        *chunk_p = calloc(1, sizeof(**chunk_p));
        if (*chunk_p == NULL)
            return GP_ERR_NO_MEMORY;
    }
    slot = &(*chunk_p)->slots[index % BE_CHUNK_SLOTS];
    if (slot->object != NULL || generation <= slot->generation)
        return GP_ERR_INVALID;
    slot->object = object;
    slot->generation = generation;
    slot->context = context;
    slot->fixed = false;
    if (index > handles->highest[kind])
        handles->highest[kind] = index;
    return GP_OK;
}

void
be_handles_remove(struct be_handle_slot *slot)
{
    slot->object = NULL;
}

uint32_t
be_handles_highest(const struct be_handles *handles, unsigned kind)
{
    return handles->highest[kind];
}
