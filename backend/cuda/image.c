/* backend/cuda/image.c -- images that the client uploads in pieces */
#include "backend/cuda/module.h"

#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/image/image.h"
#include "transport/tls/sha256.h"

#include <stdlib.h>
#include <string.h>

struct be_image {
    struct gp_image image;
    uint8_t *data; /* the upload's, ours now */
    uint64_t bytes;
    bool named; /* digest is known */
    bool keep;  /* offer it to the keeper once it is loaded */
    uint8_t digest[BE_IMAGE_HASH_BYTES];
};

static struct be_upload *
upload_find(struct be_session *session, uint32_t id)
{
    for (int i = 0; i < BE_UPLOADS_MAX; i++)
        if (session->uploads[i].id == id)
            return &session->uploads[i];
    return NULL;
}

static uint64_t
uploads_total(const struct be_session *session)
{
    uint64_t bytes = 0;

    for (int i = 0; i < BE_UPLOADS_MAX; i++)
        bytes += session->uploads[i].capacity;
    return bytes;
}

static void
upload_drop(struct be_upload *upload)
{
    free(upload->data);
    memset(upload, 0, sizeof(*upload));
}

/* Grows with what has come, not with what was announced. */
static CUresult
upload_room(struct be_session *session, struct be_upload *upload, uint64_t need)
{
    uint64_t capacity = gp_max_u64(upload->capacity * 2, gp_align_up_u64(need, 4096));
    uint8_t *data;

    if (need <= upload->capacity)
        return CUDA_SUCCESS;
    capacity = gp_min_u64(capacity, gp_align_up_u64(upload->total, 4096));
    if (uploads_total(session) - upload->capacity + capacity > session->limits.upload_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    data = realloc(upload->data, capacity);
    if (data == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    upload->data = data;
    upload->capacity = capacity;
    return CUDA_SUCCESS;
}

/* A slot for an upload that begins. */
static CUresult
upload_begin(struct be_session *session, uint32_t id, uint64_t total, struct be_upload **upload_p)
{
    struct be_upload *upload = upload_find(session, 0);

    if (upload == NULL || total > session->limits.upload_bytes) {
        if (!session->upload_refused)
            log_warn("session: an image of %llu bytes is refused: %s", (unsigned long long)total,
                     upload == NULL ? "too many are on their way" : "--image-max is less");
        session->upload_refused = true;
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    upload->id = id;
    upload->total = total;
    *upload_p = upload;
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpOffer(struct be_call *call, const struct wire_gpOffer_args *args)
{
    struct be_session *session = call->session;
    struct be_upload *upload;
    CUresult cr;

    if (args->upload == 0 || args->total == 0 || upload_find(session, args->upload) != NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = upload_begin(session, args->upload, args->total, &upload);
    if (cr != CUDA_SUCCESS)
        return cr;
    upload->offered = true;
    memcpy(upload->digest, args->sha256, sizeof(upload->digest));
    if (uploads_total(session) + args->total > session->limits.upload_bytes)
        return CUDA_SUCCESS; /* it must come the long way */
    if (be_images_get(&session->images, upload->digest, args->total, &upload->data) == GP_OK) {
        upload->have = args->total;
        upload->capacity = gp_align_up_u64(args->total, 4096);
        upload->kept = true;
    }
    return CUDA_SUCCESS;
}

CUresult
be_hook_gpUpload(struct be_call *call, const struct wire_gpUpload_args *args)
{
    struct be_session *session = call->session;
    struct be_upload *upload;
    CUresult cr;

    if (args->upload == 0 || args->data_len == 0 || args->data_len > args->total ||
        args->offset > args->total - args->data_len)
        return CUDA_ERROR_INVALID_VALUE;
    upload = upload_find(session, args->upload);
    if (upload == NULL) {
        cr = upload_begin(session, args->upload, args->total, &upload);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    if (args->total != upload->total || args->offset != upload->have) {
        upload_drop(upload);
        return CUDA_ERROR_INVALID_VALUE;
    }
    cr = upload_room(session, upload, upload->have + args->data_len);
    if (cr != CUDA_SUCCESS) {
        upload_drop(upload);
        return cr;
    }
    memcpy(upload->data + upload->have, args->data, args->data_len);
    upload->have += args->data_len;
    return CUDA_SUCCESS;
}

CUresult
be_image_open(struct be_session *session, uint32_t id, struct be_image **image_p)
{
    struct be_upload *upload = id != 0 ? upload_find(session, id) : NULL;
    struct be_image *image;
    enum gp_status status;

    if (upload != NULL && upload->offered && upload->have == 0)
        return CUDA_ERROR_NOT_FOUND;
    if (upload == NULL || upload->have != upload->total)
        return CUDA_ERROR_INVALID_IMAGE;
    image = calloc(1, sizeof(*image));
    if (image == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    status = gp_image_open(upload->data, upload->total, &image->image);
    if (status != GP_OK) {
        log_info("session: image of %llu bytes refused: %s", (unsigned long long)upload->total,
                 gp_status_text(status));
        free(image);
        upload_drop(upload);
        return status == GP_ERR_NO_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
    }
    image->bytes = upload->total;
    image->named = upload->offered;
    image->keep = upload->offered && !upload->kept;
    memcpy(image->digest, upload->digest, sizeof(image->digest));
    image->data = upload->data;
    upload->data = NULL;
    upload_drop(upload);
    *image_p = image;
    return CUDA_SUCCESS;
}

bool
be_image_name(struct be_image *image, const uint8_t **digest_p, uint64_t *bytes_p)
{
    if (!image->named) {
        if (tp_sha256(image->data, image->bytes, image->digest) != GP_OK)
            return false;
        image->named = image->keep = true;
    }
    *digest_p = image->digest;
    *bytes_p = image->bytes;
    return true;
}

CUresult
be_image_promised(const struct be_promise *promise, struct be_image **image_p)
{
    struct be_image *image = calloc(1, sizeof(*image));
    enum gp_status status = GP_ERR_NO_MEMORY;

    if (image != NULL)
        status = be_images_read(promise->fd, promise->digest, promise->bytes, &image->data);
    if (status == GP_OK)
        status = gp_image_open(image->data, promise->bytes, &image->image);
    if (status != GP_OK) {
        if (image != NULL)
            free(image->data);
        free(image);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    image->bytes = promise->bytes;
    image->named = true;
    memcpy(image->digest, promise->digest, sizeof(image->digest));
    *image_p = image;
    return CUDA_SUCCESS;
}

CUresult
be_upload_take(struct be_session *session, uint32_t id, uint8_t **data_p, uint64_t *bytes_p)
{
    struct be_upload *upload = id != 0 ? upload_find(session, id) : NULL;
    uint8_t *data;

    if (upload == NULL || upload->have != upload->total)
        return CUDA_ERROR_INVALID_VALUE;
    data = realloc(upload->data, upload->total + 8);
    if (data == NULL) {
        upload_drop(upload);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memset(data + upload->total, 0, 8);
    *data_p = data;
    *bytes_p = upload->total;
    upload->data = NULL;
    upload_drop(upload);
    return CUDA_SUCCESS;
}

const void *
be_image_driver(const struct be_image *image)
{
    return image->image.driver_image;
}

void
be_image_close(struct be_session *session, struct be_image *image, bool loaded)
{
    if (image == NULL)
        return;
    if (loaded && image->keep)
        be_images_put(&session->images, image->digest, image->data, image->bytes);
    gp_image_close(&image->image);
    free(image->data);
    free(image);
}

void
be_uploads_destroy(struct be_session *session)
{
    for (int i = 0; i < BE_UPLOADS_MAX; i++)
        upload_drop(&session->uploads[i]);
}
