/* frontend/cuda/image.c -- images and JIT options on their way to the server */
#include "frontend/cuda/image.h"

#include "frontend/core/perf.h"
#include "protocol/base/util.h"
#include "protocol/image/image.h"
#include "transport/tls/sha256.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define IMAGE_MAX   ((size_t)2 << 30)
#define PIECE_BYTES ((size_t)1 << 20)
#define OFFER_MIN   ((size_t)128 << 10)

static CUresult
of_status(enum gp_status status)
{
    return status == GP_ERR_NO_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
}

/* One piece straight from the program's memory. */
static CUresult
send_piece(struct fe_call *call, struct wire_gpUpload_args *args, const uint8_t *data, size_t len)
{
    void *to;

    args->data_len = (uint32_t)len;
    to = fe_post_tail(call, WIRE_HEAD_gpUpload_args, data, len);
    if (to == NULL)
        return fe_lost(call);
    wire_head_gpUpload_args(to, args);
    fe_post_done(call);
    args->offset += len;
    return CUDA_SUCCESS;
}

static uint32_t
upload_next(void)
{
    static _Atomic uint32_t next = 1;

    return next++;
}

static CUresult
send_pieces(struct fe_call *call, const struct gp_image_gather *g, uint32_t upload)
{
    struct wire_gpUpload_args args = {.upload = upload, .total = g->len};
    CUresult cr = fe_call_next(call, WIRE_CALL_gpUpload);

    for (int i = 0; i < g->count && cr == CUDA_SUCCESS; i++) {
        const uint8_t *data = g->pieces[i].iov_base;
        size_t left = g->pieces[i].iov_len;

        while (left > 0 && cr == CUDA_SUCCESS) {
            size_t part = left < PIECE_BYTES ? left : PIECE_BYTES;

            cr = send_piece(call, &args, data, part);
            data += part;
            left -= part;
        }
    }
    return cr;
}

/* Whether a round trip more, where the server does not have it, is less than its bytes. */
static bool
worth_offering(const struct fe_call *call, const struct gp_image_gather *g)
{
    return g->len >= OFFER_MIN && fe_perf(FE_PERF_IMAGES) &&
           wire_call_set_has(&call->session->calls, WIRE_CALL_gpOffer);
}

static CUresult
hash_pieces(const struct gp_image_gather *g, uint8_t digest[TP_SHA256_BYTES])
{
    struct tp_sha256 *hash;

    if (tp_sha256_create(&hash) != GP_OK)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (int i = 0; i < g->count; i++)
        tp_sha256_add(hash, g->pieces[i].iov_base, g->pieces[i].iov_len);
    return tp_sha256_finish(hash, digest) == GP_OK ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
fe_image_flatten(const void *image, uint32_t *kind_p, uint8_t **flat_p, size_t *len_p)
{
    enum gp_status status;

    *kind_p = (uint32_t)gp_image_classify(image);
    status = gp_image_flatten(image, IMAGE_MAX, flat_p, len_p);
    return status == GP_OK ? CUDA_SUCCESS : of_status(status);
}

CUresult
fe_image_promised(const struct fe_session *s, const void *image,
                  uint8_t digest[FE_PROMISE_HASH_BYTES], uint64_t *total_p, uint8_t **table_p,
                  size_t *len_p)
{
    struct gp_image_gather g;
    enum gp_status status = gp_image_gather(image, IMAGE_MAX, &g);
    CUresult cr = CUDA_SUCCESS;

    if (status != GP_OK)
        return of_status(status);
    *total_p = g.len;
    if (fe_promise_any(s, g.len)) {
        cr = hash_pieces(&g, digest);
        if (cr == CUDA_SUCCESS)
            (void)fe_promise_take(s, g.len, digest, table_p, len_p);
    }
    gp_image_gather_fini(&g);
    return cr;
}

static CUresult
offer(struct fe_call *call, const struct gp_image_gather *g, uint32_t upload)
{
    struct wire_gpOffer_args args = {.upload = upload, .total = g->len};
    uint8_t digest[TP_SHA256_BYTES];
    CUresult cr = fe_call_next(call, WIRE_CALL_gpOffer);
    void *to;

    if (cr == CUDA_SUCCESS)
        cr = hash_pieces(g, digest);
    if (cr != CUDA_SUCCESS)
        return cr;
    memcpy(args.sha256, digest, sizeof(args.sha256));
    to = fe_post(call, wire_size_gpOffer_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_gpOffer_args(to, &args);
    fe_post_done_wait(call); /* the load follows */
    return CUDA_SUCCESS;
}

CUresult
fe_image_send(struct fe_call *call, const void *image, struct fe_image *way)
{
    enum wire_call before = (enum wire_call)call->id;
    struct gp_image_gather g;
    enum gp_status status;
    CUresult cr;

    if (image == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    status = gp_image_gather(image, IMAGE_MAX, &g);
    if (status != GP_OK)
        return of_status(status);
    if (way->upload == 0)
        way->upload = upload_next();
    way->kind = (uint32_t)g.kind;
    if (!way->offered && worth_offering(call, &g)) {
        way->offered = true;
        cr = offer(call, &g, way->upload);
    } else {
        way->sent = true;
        cr = send_pieces(call, &g, way->upload);
    }
    gp_image_gather_fini(&g);
    return cr == CUDA_SUCCESS ? fe_call_next(call, before) : cr;
}

CUresult
fe_bytes_send(struct fe_call *call, const void *data, size_t size, uint32_t *upload_p)
{
    enum wire_call before = (enum wire_call)call->id;
    struct wire_gpUpload_args args = {.upload = upload_next(), .total = size};
    CUresult cr = fe_call_next(call, WIRE_CALL_gpUpload);

    for (size_t at = 0; at < size && cr == CUDA_SUCCESS; at += PIECE_BYTES)
        cr = send_piece(call, &args, (const uint8_t *)data + at,
                        size - at < PIECE_BYTES ? size - at : PIECE_BYTES);
    *upload_p = args.upload;
    return cr == CUDA_SUCCESS ? fe_call_next(call, before) : cr;
}

static enum gp_status
image_length_ok(const uint8_t *data, size_t len)
{
    size_t real;

    switch (gp_image_classify(data)) {
    case GP_IMAGE_ELF:
        return gp_image_elf_len(data, len, &real);
    case GP_IMAGE_FATBIN:
        return gp_image_fatbin_len(data, len, &real);
    case GP_IMAGE_PTX:
        return GP_OK;
    default:
        return GP_ERR_INVALID;
    }
}

CUresult
fe_file_read(const char *path, void **data_p, size_t *size_p)
{
    GP_AUTO_FREE uint8_t *data = NULL;
    FILE *file = fopen(path, "rbe");
    size_t len = 0, room = 0, got;

    if (file == NULL)
        return CUDA_ERROR_FILE_NOT_FOUND;
    do {
        if (room - len < 64) {
            size_t more = room == 0 ? 65536 : 2 * room;
            uint8_t *grown = more <= IMAGE_MAX ? realloc(data, more) : NULL;

            if (grown == NULL) {
                fclose(file);
                return CUDA_ERROR_OUT_OF_MEMORY;
            }
            data = grown;
            room = more;
        }
        got = fread(data + len, 1, room - len - 32, file);
        len += got;
    } while (got > 0);
    fclose(file);
    memset(data + len, 0, 32);
    *data_p = data;
    *size_p = len;
    data = NULL;
    return CUDA_SUCCESS;
}

CUresult
fe_image_read(const char *path, void **image_p)
{
    GP_AUTO_FREE void *data = NULL;
    size_t len = 0;
    CUresult cr = fe_file_read(path, &data, &len);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (len == 0 || image_length_ok(data, len) != GP_OK)
        return CUDA_ERROR_INVALID_IMAGE;
    *image_p = data;
    data = NULL;
    return CUDA_SUCCESS;
}

/* -- JIT options ------------------------------------------------------------------------ */

/* Options whose value is a pointer into the program's memory, or the length of such a list. */
static bool
is_pointer(CUjit_option option)
{
    switch (option) {
    case CU_JIT_GLOBAL_SYMBOL_NAMES:
    case CU_JIT_GLOBAL_SYMBOL_ADDRESSES:
    case CU_JIT_GLOBAL_SYMBOL_COUNT:
    case CU_JIT_REFERENCED_KERNEL_NAMES:
    case CU_JIT_REFERENCED_KERNEL_COUNT:
    case CU_JIT_REFERENCED_VARIABLE_NAMES:
    case CU_JIT_REFERENCED_VARIABLE_COUNT:
        return true;
    default:
        return false;
    }
}

static uint32_t
log_room(const void *value)
{
    uintptr_t bytes = (uintptr_t)value & 0xffffffffu;

    return bytes > FE_JIT_LOG_MAX ? FE_JIT_LOG_MAX : (uint32_t)bytes;
}

CUresult
fe_jit_read(struct fe_jit *jit, unsigned count, const CUjit_option *options, void **values)
{
    memset(jit, 0, sizeof(*jit));
    if (count > 0 && (options == NULL || values == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count; i++) {
        switch (options[i]) {
        case CU_JIT_INFO_LOG_BUFFER:
            jit->info = values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
            jit->info_bytes = log_room(values[i]);
            jit->info_size_p = &values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER:
            jit->error = values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
            jit->error_bytes = log_room(values[i]);
            jit->error_size_p = &values[i];
            break;
        case CU_JIT_WALL_TIME: /* answered with what is known: nothing */
            values[i] = NULL;
            break;
        default:
            if ((int)options[i] < 0 || options[i] >= CU_JIT_NUM_OPTIONS)
                return CUDA_ERROR_INVALID_VALUE;
            if (is_pointer(options[i]))
                return fe_refuse("a JIT option that carries a pointer");
            if (jit->count == FE_JIT_OPTIONS_MAX)
                return CUDA_ERROR_INVALID_VALUE;
            jit->options[jit->count] = (uint32_t)options[i];
            jit->values[jit->count++] = (uint64_t)(uintptr_t)values[i];
        }
    }
    if (jit->info == NULL)
        jit->info_bytes = 0;
    if (jit->error == NULL)
        jit->error_bytes = 0;
    return CUDA_SUCCESS;
}

/* A log into its buffer, cut to size; *size_p is the length that was filled. */
static void
put_log(char *to, uint32_t room, void **size_p, const char *text)
{
    size_t len = strlen(text);

    if (to == NULL || room == 0)
        return;
    if (len >= room)
        len = room - 1;
    memcpy(to, text, len);
    to[len] = 0;
    if (size_p != NULL)
        *size_p = (void *)(len > 0 ? len + 1 : 0);
}

void
fe_jit_answer(const struct fe_jit *jit, const char *info, const char *error)
{
    put_log(jit->info, jit->info_bytes, jit->info_size_p, info);
    put_log(jit->error, jit->error_bytes, jit->error_size_p, error);
}
