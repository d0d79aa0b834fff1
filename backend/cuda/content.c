/* backend/cuda/content.c -- copies to the device whose bytes an earlier one brought */
#include "backend/cuda/copy_in.h"
#include "backend/cuda/state.h"

#include "be_hooks.h"
#include "protocol/base/util.h"
#include "protocol/wire/content.h"

#include <string.h>
#include <sys/mman.h>

_Static_assert(WIRE_CONTENT_HASH_BYTES == BE_IMAGE_HASH_BYTES, "named by the same hash");

/* One chunk to the device, by way of pinned memory. */
static CUresult
chunk_copy(struct be_call *call, uint64_t dst, uint64_t stream, const uint8_t *data, uint32_t bytes)
{
    const struct wire_cuMemcpyHtoDAsync_v2_args args = {
        .dst = dst, .stream = stream, .data = data, .data_len = bytes};

    return be_hook_cuMemcpyHtoDAsync_v2(call, &args);
}

/* Checked as a whole before anything is copied. */
static CUresult
known_check(struct be_call *call, const struct wire_gpCopyKnown_args *args, uint32_t *count_p)
{
    uint32_t count = args->digests_len / WIRE_CONTENT_HASH_BYTES;
    CUstream stream;
    CUresult cr;

    if (args->digests_len % WIRE_CONTENT_HASH_BYTES != 0 || count == 0 ||
        count > WIRE_CONTENT_CHUNKS || args->bytes > (uint64_t)count * WIRE_CONTENT_BYTES ||
        args->bytes <= (uint64_t)(count - 1) * WIRE_CONTENT_BYTES)
        return CUDA_ERROR_INVALID_VALUE;
    *count_p = count;
    cr = be_handle_get(call->session, WIRE_HANDLE_STREAM, args->stream, true, &stream);
    return cr == CUDA_SUCCESS ? be_check_device(call->session, args->dst, args->bytes) : cr;
}

CUresult
be_hook_gpCopyKnown(struct be_call *call, const struct wire_gpCopyKnown_args *args,
                    struct wire_gpCopyKnown_reply *reply)
{
    struct be_images *images = &call->session->images;
    uint32_t count = 0;
    CUresult cr = known_check(call, args, &count);

    for (uint32_t i = 0; i < count && cr == CUDA_SUCCESS; i++) {
        uint64_t at = (uint64_t)i * WIRE_CONTENT_BYTES;
        uint32_t bytes = (uint32_t)gp_min_u64(args->bytes - at, WIRE_CONTENT_BYTES);
        uint8_t digest[BE_IMAGE_HASH_BYTES];
        const uint8_t *data;

        memcpy(digest, args->digests + i * sizeof(digest), sizeof(digest));
        if (be_contents_map(images, digest, bytes, &data) != GP_OK) {
            reply->missing |= 1ull << i;
            continue;
        }
        cr = chunk_copy(call, args->dst + at, args->stream, data, bytes);
        munmap((void *)(uintptr_t)data, bytes);
    }
    return cr;
}

/* Whether the hash is right the keeper finds out. */
CUresult
be_hook_gpCopyKept(struct be_call *call, const struct wire_gpCopyKept_args *args)
{
    uint8_t digest[BE_IMAGE_HASH_BYTES];
    CUresult cr = chunk_copy(call, args->dst, args->stream, args->data, args->data_len);

    memcpy(digest, args->sha256, sizeof(digest));
    if (cr == CUDA_SUCCESS && args->data_len > 0)
        be_contents_put(&call->session->images, digest, args->data, args->data_len);
    return cr;
}
