/* frontend/cuda/link.c -- linking in the server's driver
 *
 * Each input travels when it is added, files are read here. Logs come with each answer and are
 * written where the program said when it made the link; the result is ours until the link ends.
 */
#include "cuda_api.h"
#include "frontend/cuda/ask.h"
#include "frontend/cuda/image.h"
#include "frontend/cuda/state.h"
#include "protocol/base/util.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 4095
#define PIECE_BYTES    (4u << 20)

struct fe_link {
    struct fe_object object;
    struct fe_jit jit;    /* where logs go, for as long as the link is */
    void *_Atomic result; /* once complete */
    size_t result_bytes;
};

void
fe_link_define(void)
{
    fe_slab_define(WIRE_HANDLE_LINK, sizeof(struct fe_link), 1u << 16);
}

static void
drop(struct fe_link *link)
{
    void *result = atomic_exchange(&link->result, NULL);

    fe_object_destroy(link);
    free(result);
}

static bool
drop_inside(void *object, void *ctx)
{
    struct fe_link *link = object;

    if (link->object.context == ctx)
        drop(link);
    return true;
}

void
fe_links_drop_context(struct fe_context *ctx)
{
    fe_object_each(WIRE_HANDLE_LINK, drop_inside, ctx);
}

GP_EXPORT CUresult
cuLinkCreate_v2(unsigned int count, CUjit_option *options, void **values, CUlinkState *state)
{
    struct wire_cuLinkCreate_v2_args args = {0};
    struct wire_cuLinkCreate_v2_reply reply;
    struct fe_link *link;
    struct fe_call call;
    CUresult cr = fe_enter(&call, WIRE_CALL_cuLinkCreate_v2);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (state == NULL)
        return fe_leave(&call, CUDA_ERROR_INVALID_VALUE);
    link = fe_object_create(WIRE_HANDLE_LINK, call.context);
    if (link == NULL)
        return fe_leave(&call, CUDA_ERROR_OUT_OF_MEMORY);
    cr = fe_jit_read(&link->jit, count, options, values);
    if (cr == CUDA_SUCCESS) {
        args.link = link->object.wire;
        args.options = link->jit.options;
        args.options_len = link->jit.count;
        args.values = link->jit.values;
        args.values_len = link->jit.count;
        args.info_bytes = link->jit.info_bytes;
        args.error_bytes = link->jit.error_bytes;
        FE_ASK(cr, &call, cuLinkCreate_v2, &args, &reply);
    }
    if (cr == CUDA_SUCCESS)
        *state = (CUlinkState)link;
    else
        drop(link);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuLinkCreate(unsigned int count, CUjit_option *options, void **values, CUlinkState *state)
{
    return cuLinkCreate_v2(count, options, values, state);
}

/* An input of a link that is not complete yet; the logs come with a failure too. */
static CUresult
add(struct fe_call *call, struct fe_link *link, CUjitInputType type, const void *data, size_t size,
    const char *name, const struct fe_jit *jit)
{
    struct wire_cuLinkAddData_v2_args args = {
        .link = link->object.wire,
        .type = (uint32_t)type,
        .name = name != NULL ? name : "",
        .name_len = (uint32_t)(name != NULL ? strlen(name) : 0),
        .options = jit->options,
        .options_len = jit->count,
        .values = jit->values,
        .values_len = jit->count,
    };
    struct wire_cuLinkAddData_v2_reply reply;
    const uint8_t *bytes;
    size_t len = 0;
    CUresult cr = fe_bytes_send(call, data, size, &args.upload);
    void *to;

    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_cuLinkAddData_v2_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuLinkAddData_v2_args(to, &args);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (len == 0 && cr != CUDA_SUCCESS)
        return cr;
    if (!wire_get_cuLinkAddData_v2_reply(bytes, len, &reply))
        return fe_malformed(call);
    fe_jit_answer(&link->jit, reply.info, reply.error);
    return cr;
}

GP_EXPORT CUresult
cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
                 unsigned int count, CUjit_option *options, void **values)
{
    struct fe_link *link = fe_object_get(WIRE_HANDLE_LINK, state);
    struct fe_call call;
    struct fe_jit jit;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (link == NULL || atomic_load(&link->result) != NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuLinkAddData_v2, link->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = fe_jit_read(&jit, count, options, values);
    if (cr == CUDA_SUCCESS &&
        (data == NULL || size == 0 || (name != NULL && strlen(name) > NAME_MAX_BYTES)))
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS)
        cr = add(&call, link, type, data, size, name, &jit);
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
              unsigned int count, CUjit_option *options, void **values)
{
    return cuLinkAddData_v2(state, type, data, size, name, count, options, values);
}

GP_EXPORT CUresult
cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path, unsigned int count,
                 CUjit_option *options, void **values)
{
    struct fe_link *link = fe_object_get(WIRE_HANDLE_LINK, state);
    GP_AUTO_FREE void *data = NULL;
    size_t size = 0;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (link == NULL || atomic_load(&link->result) != NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = fe_file_read(path, &data, &size);
    return cr == CUDA_SUCCESS
               ? cuLinkAddData_v2(state, type, data, size, path, count, options, values)
               : cr;
}

GP_EXPORT CUresult
cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path, unsigned int count,
              CUjit_option *options, void **values)
{
    return cuLinkAddFile_v2(state, type, path, count, options, values);
}

/* -- the result ------------------------------------------------------------------------------- */

static CUresult
fetch(struct fe_call *call, const struct fe_link *link, uint8_t *to, uint64_t bytes)
{
    struct wire_gpLinkRead_args args = {.link = link->object.wire};
    struct wire_gpLinkRead_reply reply;
    CUresult cr = fe_call_next(call, WIRE_CALL_gpLinkRead);

    while (cr == CUDA_SUCCESS && args.offset < bytes) {
        uint64_t left = bytes - args.offset;

        args.bytes = left < PIECE_BYTES ? (uint32_t)left : PIECE_BYTES;
        FE_ASK(cr, call, gpLinkRead, &args, &reply);
        if (cr == CUDA_SUCCESS && reply.data_len != args.bytes)
            cr = fe_malformed(call);
        if (cr == CUDA_SUCCESS)
            memcpy(to + args.offset, reply.data, args.bytes);
        args.offset += args.bytes;
    }
    return cr;
}

static CUresult
complete(struct fe_call *call, struct fe_link *link)
{
    struct wire_cuLinkComplete_args args = {.link = link->object.wire};
    struct wire_cuLinkComplete_reply reply;
    const uint8_t *bytes;
    uint8_t *result;
    size_t len = 0;
    CUresult cr;
    void *to;

    to = fe_post(call, wire_size_cuLinkComplete_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_cuLinkComplete_args(to, &args);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (len == 0 && cr != CUDA_SUCCESS)
        return cr;
    if (!wire_get_cuLinkComplete_reply(bytes, len, &reply) || reply.size > PTRDIFF_MAX)
        return fe_malformed(call);
    fe_jit_answer(&link->jit, reply.info, reply.error);
    if (cr != CUDA_SUCCESS)
        return cr;
    result = malloc(reply.size + 1);
    if (result == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    link->result_bytes = reply.size;
    cr = fetch(call, link, result, reply.size);
    if (cr == CUDA_SUCCESS)
        atomic_store(&link->result, result);
    else
        free(result);
    return cr;
}

GP_EXPORT CUresult
cuLinkComplete(CUlinkState state, void **cubin, size_t *size)
{
    struct fe_link *link = fe_object_get(WIRE_HANDLE_LINK, state);
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (link == NULL || atomic_load(&link->result) != NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_in(&call, WIRE_CALL_cuLinkComplete, link->object.context);
    if (cr != CUDA_SUCCESS)
        return cr;
    cr = cubin != NULL ? complete(&call, link) : CUDA_ERROR_INVALID_VALUE;
    if (cr == CUDA_SUCCESS) {
        *cubin = atomic_load(&link->result);
        if (size != NULL)
            *size = link->result_bytes;
    }
    return fe_leave(&call, cr);
}

GP_EXPORT CUresult
cuLinkDestroy(CUlinkState state)
{
    struct fe_link *link = fe_object_get(WIRE_HANDLE_LINK, state);
    struct wire_cuLinkDestroy_args args;
    struct fe_call call;
    CUresult cr = CUDA_SUCCESS;

    if (fe_state_get(&cr) == NULL)
        return cr;
    if (link == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = fe_enter_on(&call, WIRE_CALL_cuLinkDestroy, link->object.context->head.session);
    if (cr != CUDA_SUCCESS)
        return cr;
    args.link = link->object.wire;
    FE_TELL(cr, &call, cuLinkDestroy, &args);
    drop(link);
    return fe_leave(&call, cr);
}
