/* backend/driver/soft/dev/image.c -- from an image of any kind to parsed code */
#include "backend/driver/soft/dev/module.h"

#include "protocol/image/image.h"

#include <string.h>

#define IMAGE_MAX (4ull << 30)
#define PTX_MAX   (1ull << 30)

static CUresult
cuda_of(enum gp_status status)
{
    return status == GP_ERR_NO_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
}

unsigned
sd_ctx_capability(const struct CUctx_st *ctx)
{
    return (unsigned)(ctx->dev->profile.cc_major * 10 + ctx->dev->profile.cc_minor);
}

void
sd_ptx_fini(struct sd_ptx *ptx)
{
    for (size_t i = 0; i < ptx->count; i++)
        free(ptx->texts[i].text);
    free(ptx->texts);
    memset(ptx, 0, sizeof(*ptx));
}

/* Takes over text. */
static CUresult
ptx_add(struct sd_ptx *ptx, char *text, size_t len)
{
    struct sd_ptx_text *texts = realloc(ptx->texts, (ptx->count + 1) * sizeof(*texts));

    if (texts == NULL) {
        free(text);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    ptx->texts = texts;
    texts[ptx->count++] = (struct sd_ptx_text){text, len};
    return CUDA_SUCCESS;
}

/* All entries of a fatbin that cuLinkComplete made. */
static CUresult
ptx_of_linked(const struct gp_image_part *part, struct sd_ptx *ptx)
{
    struct gp_image_entry entry;
    struct gp_image_walk walk;
    enum gp_status status = gp_image_walk_begin(part, &walk);
    CUresult cr = CUDA_SUCCESS;

    while (status == GP_OK && cr == CUDA_SUCCESS) {
        uint8_t *text;
        size_t len;

        status = gp_image_walk_next(&walk, &entry);
        if (status == GP_OK)
            status = gp_image_unpack(&entry, PTX_MAX, &text, &len);
        if (status == GP_OK)
            cr = ptx_add(ptx, (char *)text, len);
    }
    ptx->link = true;
    if (cr != CUDA_SUCCESS)
        return cr;
    return status == GP_ERR_NOT_FOUND ? CUDA_SUCCESS : cuda_of(status);
}

static bool
is_linked(const struct gp_image_entry *entry)
{
    return entry->name_len == sizeof(SD_LINKED_NAME) - 1 &&
           memcmp(entry->name, SD_LINKED_NAME, entry->name_len) == 0;
}

/* The best PTX of one fatbin; CUDA_ERROR_NO_BINARY_FOR_GPU if it has none that fits. */
static CUresult
ptx_of_fatbin(const struct gp_image_part *part, unsigned cc, struct sd_ptx *ptx)
{
    struct gp_image_entry entry;
    enum gp_status status = gp_image_best_ptx(part, cc, &entry);
    uint8_t *text;
    size_t len;

    if (status == GP_ERR_NOT_FOUND)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    if (status == GP_OK && is_linked(&entry))
        return ptx_of_linked(part, ptx);
    if (status == GP_OK)
        status = gp_image_unpack(&entry, PTX_MAX, &text, &len);
    if (status != GP_OK)
        return cuda_of(status);
    return ptx_add(ptx, (char *)text, len);
}

/* Of objects compiled with -rdc=true: the PTX of each that has any. */
static CUresult
ptx_of_parts(const struct gp_image *image, unsigned cc, struct sd_ptx *ptx)
{
    CUresult cr = CUDA_SUCCESS;

    for (size_t i = 1; i < image->nparts && cr == CUDA_SUCCESS; i++) {
        cr = ptx_of_fatbin(&image->parts[i], cc, ptx);
        if (cr == CUDA_ERROR_NO_BINARY_FOR_GPU)
            cr = CUDA_SUCCESS;
    }
    if (cr == CUDA_SUCCESS && ptx->count == 0)
        cr = CUDA_ERROR_NO_BINARY_FOR_GPU;
    ptx->link = true;
    return cr;
}

static CUresult
ptx_of_open(const struct gp_image *image, unsigned cc, struct sd_ptx *ptx)
{
    char *text;

    switch (image->kind) {
    case GP_IMAGE_PTX:
        text = strndup((const char *)image->parts[0].data, image->parts[0].len);
        if (text == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        return ptx_add(ptx, text, strlen(text));
    case GP_IMAGE_FATBIN:
        return ptx_of_fatbin(&image->parts[0], cc, ptx);
    case GP_IMAGE_WRAPPER:
        if (image->nparts > 1)
            return ptx_of_parts(image, cc, ptx);
        return ptx_of_fatbin(&image->parts[0], cc, ptx);
    case GP_IMAGE_ELF:
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    default:
        return CUDA_ERROR_INVALID_IMAGE;
    }
}

CUresult
sd_ptx_of_image(const void *image, unsigned cc, struct sd_ptx *ptx)
{
    GP_AUTO_FREE uint8_t *flat = NULL;
    struct gp_image open;
    enum gp_status status;
    char text[256];
    size_t len;
    CUresult cr;

    memset(ptx, 0, sizeof(*ptx));
    status = gp_image_flatten(image, IMAGE_MAX, &flat, &len);
    if (status == GP_OK)
        status = gp_image_open(flat, len, &open);
    if (status != GP_OK)
        return cuda_of(status);
    cr = ptx_of_open(&open, cc, ptx);
    if (cr == CUDA_ERROR_NO_BINARY_FOR_GPU) {
        gp_image_describe(&open, text, sizeof(text));
        log_error("software device: no PTX that sm_%u can run in %s", cc, text);
    }
    gp_image_close(&open);
    if (cr != CUDA_SUCCESS)
        sd_ptx_fini(ptx);
    return cr;
}

/* PTX for a newer device than this one cannot be run. */
static CUresult
check_target(const struct sd_module *code, unsigned cc)
{
    const struct sd_kernel *kernel;

    if (sd_module_kernel_count(code) == 0)
        return CUDA_SUCCESS;
    kernel = sd_module_kernel(code, 0);
    if (kernel->target <= cc)
        return CUDA_SUCCESS;
    log_error("software device: PTX for sm_%u on a device of sm_%u", kernel->target, cc);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

CUresult
sd_ptx_build(const struct sd_ptx *ptx, unsigned cc, struct sd_text *log_p,
             struct sd_module **code_p)
{
    GP_AUTO_FREE struct sd_module **modules = calloc(ptx->count, sizeof(*modules));
    struct sd_module *code;
    size_t n = 0;
    CUresult cr = CUDA_SUCCESS;

    if (modules == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (; n < ptx->count && cr == CUDA_SUCCESS; n += cr == CUDA_SUCCESS)
        cr = sd_module_parse(ptx->texts[n].text, ptx->texts[n].len, log_p, &modules[n]);
    if (cr != CUDA_SUCCESS) {
        while (n > 0)
            sd_module_destroy(modules[--n]);
        return cr;
    }
    code = modules[0];
    if (ptx->link || n > 1) {
        cr = sd_module_link(modules, n, log_p, &code);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    cr = check_target(code, cc);
    if (cr != CUDA_SUCCESS)
        sd_module_destroy(code);
    else
        *code_p = code;
    return cr;
}

/* --- options --- */

CUresult
sd_jit_parse(unsigned count, CUjit_option *options, void **values, struct sd_jit_logs *logs)
{
    memset(logs, 0, sizeof(*logs));
    if (count != 0 && (options == NULL || values == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count; i++) {
        switch (options[i]) {
        case CU_JIT_INFO_LOG_BUFFER:
            logs->info = values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
            logs->info_size = (uint32_t)(uintptr_t)values[i];
            logs->info_written = &values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER:
            logs->error = values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
            logs->error_size = (uint32_t)(uintptr_t)values[i];
            logs->error_written = &values[i];
            break;
        case CU_JIT_WALL_TIME:
            logs->wall_time = &values[i];
            break;
        default: /* hints to a compiler that is not here */
            if ((unsigned)options[i] >= CU_JIT_NUM_OPTIONS)
                return CUDA_ERROR_INVALID_VALUE;
            break;
        }
    }
    return CUDA_SUCCESS;
}

static void
log_put(char *buffer, size_t size, void **written, const char *text, size_t len)
{
    size_t n = 0;

    if (buffer != NULL && size != 0) {
        n = gp_min_u64(len, size - 1);
        memcpy(buffer, text, n);
        buffer[n] = '\0';
        n = n != 0 ? n + 1 : 0;
    }
    if (written != NULL)
        *written = (void *)(uintptr_t)n;
}

void
sd_jit_report(const struct sd_jit_logs *logs, const struct sd_text *text, CUresult cr)
{
    const char *data = text->data != NULL ? text->data : "";
    bool failed = cr != CUDA_SUCCESS;

    log_put(logs->error, logs->error_size, logs->error_written, data, failed ? text->len : 0);
    log_put(logs->info, logs->info_size, logs->info_written, data, failed ? 0 : text->len);
    if (logs->wall_time != NULL) {
        float ms = 0.0f;

        memcpy(logs->wall_time, &ms, sizeof(ms));
    }
}
