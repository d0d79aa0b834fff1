/* backend/cuda/array.h -- arrays of the client
 *
 * An array lives until the client has destroyed it and no copy needs it any more.
 *
 * Threads: made by the executor; _get and _put from any, with its context current for the last
 *          _put.
 */
#ifndef BE_ARRAY_H
#define BE_ARRAY_H

#include "backend/cuda/state.h"
#include "protocol/wire/array.h"

#include <stdatomic.h>

struct be_array {
    struct be_session *session;
    CUarray array;           /* or */
    CUmipmappedArray mipmap; /* this one */
    struct be_array *parent; /* of a level or a plane; counted */
    int32_t device;
    uint64_t charged; /* bytes of the lease */
    CUDA_ARRAY3D_DESCRIPTOR desc;
    atomic_uint refs;
};

/* The array or mipmapped array behind an id, borrowed. Errors: CUDA_ERROR_INVALID_HANDLE. */
CUresult be_array_find(struct be_session *session, enum wire_handle kind, uint64_t id,
                       struct be_array **array_p);
struct be_array *be_array_get(struct be_array *array);
void be_array_put(struct be_array *array);

/* Whether the box lies inside; INVALID_VALUE if not. */
CUresult be_array_check(const struct be_array *array, uint64_t x, uint64_t y, uint64_t z,
                        uint64_t width, uint64_t height, uint64_t depth);

#endif
