/* backend/cuda/link.c -- links of the client
 *
 * The driver writes its logs into buffers of ours, which live as long as the link; the result is
 * the driver's until then, and is copied into answers piece by piece.
 */
#include "backend/cuda/link.h"

#include "backend/cuda/module.h"
#include "be_hooks.h"
#include "protocol/base/util.h"
#include "protocol/image/image.h"

#include <stdlib.h>
#include <string.h>

#define LINKS_MAX           256u /* of a session, at once */
#define INPUTS_BYTES_FACTOR 4u   /* of the limit for one image: of all links together */

struct be_link {
    CUlinkState state;
    struct be_jit jit;
    uint64_t input_bytes; /* what the driver may keep of it */
    const uint8_t *result;
    size_t result_bytes;
};

void
be_link_end(struct be_session *session, struct be_link *link)
{
    (void)session->driver->table.cuLinkDestroy(link->state);
    session->link_bytes -= link->input_bytes;
    session->link_count--;
    be_jit_fini(&link->jit);
    free(link);
}

CUresult
be_hook_cuLinkCreate_v2(struct be_call *call, const struct wire_cuLinkCreate_v2_args *args,
                        struct wire_cuLinkCreate_v2_reply *reply)
{
    struct be_link *link;
    CUresult cr;

    (void)reply;
    if (call->driver->cuLinkCreate_v2 == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (call->session->link_count == LINKS_MAX)
        return CUDA_ERROR_OUT_OF_MEMORY;
    link = calloc(1, sizeof(*link));
    if (link == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = be_jit_init(&link->jit, args->options, args->options_len, args->values, args->values_len,
                     args->info_bytes, args->error_bytes);
    if (cr != CUDA_SUCCESS) {
        free(link);
        return cr;
    }
    cr = call->driver->cuLinkCreate_v2(link->jit.count, link->jit.options, link->jit.values,
                                       &link->state);
    if (cr != CUDA_SUCCESS) {
        be_jit_fini(&link->jit);
        free(link);
        return cr;
    }
    call->session->link_count++;
    if (be_handles_add(&call->session->handles, WIRE_HANDLE_LINK, args->link, link,
                       call->context->index) != GP_OK) {
        be_link_end(call->session, link);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return CUDA_SUCCESS;
}

static struct be_link *
link_find(struct be_call *call, uint64_t id)
{
    struct be_handle_slot *slot = be_handles_find(&call->session->handles, WIRE_HANDLE_LINK, id);

    return slot != NULL ? slot->object : NULL;
}

/* Containers say themselves how long they are: that must be inside of what came. */
static bool
container_ok(uint32_t type, const uint8_t *data, uint64_t bytes)
{
    struct gp_image image;

    if (type != CU_JIT_INPUT_CUBIN && type != CU_JIT_INPUT_FATBINARY)
        return true;
    if (gp_image_open(data, bytes, &image) != GP_OK)
        return false;
    gp_image_close(&image);
    return true;
}

static void
logs(struct be_call *call, const struct be_link *link, const char **info_p, uint32_t *info_len_p,
     const char **error_p, uint32_t *error_len_p)
{
    be_jit_text(call->session, link->jit.info, info_p, info_len_p);
    be_jit_text(call->session, link->jit.error, error_p, error_len_p);
}

CUresult
be_hook_cuLinkAddData_v2(struct be_call *call, const struct wire_cuLinkAddData_v2_args *args,
                         struct wire_cuLinkAddData_v2_reply *reply)
{
    struct be_link *link = link_find(call, args->link);
    GP_AUTO_FREE uint8_t *data = NULL;
    uint64_t bytes = 0;
    struct be_jit jit;
    CUresult cr;

    gp_buf_reset(&call->session->scratch_text);
    reply->info = reply->error = "";
    cr = be_upload_take(call->session, args->upload, &data, &bytes);
    if (link == NULL || link->result != NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!container_ok(args->type, data, bytes))
        return CUDA_ERROR_INVALID_IMAGE;
    if (bytes >
        call->session->limits.upload_bytes * INPUTS_BYTES_FACTOR - call->session->link_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    cr = be_jit_init(&jit, args->options, args->options_len, args->values, args->values_len, 0, 0);
    if (cr != CUDA_SUCCESS)
        return cr;
    link->input_bytes += bytes;
    call->session->link_bytes += bytes;
    cr = call->driver->cuLinkAddData_v2(link->state, (CUjitInputType)args->type, data, bytes,
                                        args->name_len > 0 ? args->name : NULL, jit.count,
                                        jit.options, jit.values);
    be_jit_fini(&jit);
    logs(call, link, &reply->info, &reply->info_len, &reply->error, &reply->error_len);
    return cr;
}

CUresult
be_hook_cuLinkComplete(struct be_call *call, const struct wire_cuLinkComplete_args *args,
                       struct wire_cuLinkComplete_reply *reply)
{
    struct be_link *link = link_find(call, args->link);
    void *result = NULL;
    CUresult cr;

    gp_buf_reset(&call->session->scratch_text);
    reply->info = reply->error = "";
    if (link == NULL || link->result != NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    cr = call->driver->cuLinkComplete(link->state, &result, &link->result_bytes);
    logs(call, link, &reply->info, &reply->info_len, &reply->error, &reply->error_len);
    if (cr != CUDA_SUCCESS)
        return cr;
    link->result = result;
    reply->size = link->result_bytes;
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpLinkRead(struct be_call *call, const struct wire_gpLinkRead_args *args,
                   struct wire_gpLinkRead_reply *reply)
{
    const struct be_link *link = link_find(call, args->link);

    if (link == NULL || link->result == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (args->bytes > BE_LINK_PIECE_MAX || args->offset > link->result_bytes ||
        args->bytes > link->result_bytes - args->offset)
        return CUDA_ERROR_INVALID_VALUE;
    /* The dispatch copies it into the answer before anything else can run. */
    reply->data = link->result + args->offset;
    reply->data_len = args->bytes;
    return CUDA_SUCCESS;
}

CUresult
be_hook_cuLinkDestroy(struct be_call *call, const struct wire_cuLinkDestroy_args *args)
{
    void *link = NULL;
    CUresult cr = be_handle_take(call->session, WIRE_HANDLE_LINK, args->link, &link);

    if (cr == CUDA_SUCCESS)
        be_link_end(call->session, link);
    return cr;
}
