/* frontend/cuda/image.h -- images and JIT options on their way to the server
 */
#ifndef FE_IMAGE_H
#define FE_IMAGE_H

#include "frontend/core/call.h"
#include "frontend/cuda/promise.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FE_JIT_OPTIONS_MAX 64
#define FE_JIT_LOG_MAX     65535

/* An image on its way; zeros to begin with. */
struct fe_image {
    uint32_t upload, kind; /* for the call that loads it */
    bool offered;          /* only its SHA-256 was sent */
    bool sent;
};

/*
 * Send the image at a pointer of the program, or, if it is large, offer it by its hash: a load that
 * then fails with fe_image_wanted() is to be repeated after a second fe_image_send(), which sends
 * the bytes. The call's id is restored.
 * Errors: CUDA_ERROR_INVALID_VALUE (NULL), CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_OUT_OF_MEMORY.
 */
CUresult fe_image_send(struct fe_call *call, const void *image, struct fe_image *way);

/* The image in its flat form, the caller's to free, as fe_bytes_send() sends it. */
CUresult fe_image_flatten(const void *image, uint32_t *kind_p, uint8_t **flat_p, size_t *len_p);

/* What the server has foretold of loading this image (promise.h): the table, its length and what
 * names it, the image's SHA-256 and the length of its flat form; *table_p stays as it is where
 * there is nothing. Errors: as above. */
CUresult fe_image_promised(const struct fe_session *s, const void *image,
                           uint8_t digest[FE_PROMISE_HASH_BYTES], uint64_t *total_p,
                           uint8_t **table_p, size_t *len_p);

static inline bool
fe_image_wanted(const struct fe_image *way, CUresult cr)
{
    return cr == CUDA_ERROR_NOT_FOUND && way->offered && !way->sent;
}

/* Send bytes as they are. The call's id is restored. */
CUresult fe_bytes_send(struct fe_call *call, const void *data, size_t size, uint32_t *upload_p);

/* A whole file, with NULs behind it; free() it.
 * Errors: CUDA_ERROR_FILE_NOT_FOUND, CUDA_ERROR_OUT_OF_MEMORY. */
CUresult fe_file_read(const char *path, void **data_p, size_t *size_p);
/* A whole file, with a NUL behind it, checked to be an image of the right length; free() it.
 * Errors: CUDA_ERROR_FILE_NOT_FOUND, CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_OUT_OF_MEMORY. */
CUresult fe_image_read(const char *path, void **image_p);

/* What of JIT options travels, and where their answers go. */
struct fe_jit {
    uint32_t options[FE_JIT_OPTIONS_MAX];
    uint64_t values[FE_JIT_OPTIONS_MAX];
    uint32_t count;
    uint32_t info_bytes, error_bytes; /* room in the program's logs */
    char *info, *error;
    void **info_size_p, **error_size_p; /* where their filled lengths go; may be NULL */
};

/* Errors: CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_SUPPORTED for options that carry pointers. */
CUresult fe_jit_read(struct fe_jit *jit, unsigned count, const CUjit_option *options,
                     void **values);
void fe_jit_answer(const struct fe_jit *jit, const char *info, const char *error);

#endif
