/* backend/driver/soft/dev/link.c -- cuLink*: what comes out is a fatbin of PTX entries
 *
 * The entries carry a name that image.c knows: it links them when the image is loaded. So the
 * result is a plain string of bytes that may be stored, copied or sent through a pool.
 */
#include "backend/driver/soft/dev/module.h"

#include "cuda_api.h"
#include "protocol/image/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct CUlinkState_st {
    struct sd_object obj;
    struct sd_ptx ptx;
    CUcontext ctx;
    unsigned cc;
    struct sd_jit_logs logs;
    uint8_t *out;
};

struct fatbin_head {
    uint32_t magic;
    uint16_t version;
    uint16_t head_bytes;
    uint64_t payload;
};

struct fatbin_entry {
    uint16_t kind;
    uint16_t version;
    uint32_t head_bytes;
    uint64_t payload;
    uint32_t packed;
    uint32_t options;
    uint16_t minor;
    uint16_t major;
    uint32_t sm;
    uint32_t name_at;
    uint32_t name_bytes;
    uint64_t flags;
    uint64_t zero;
    uint64_t unpacked;
};

_Static_assert(sizeof(struct fatbin_head) == 16 && sizeof(struct fatbin_entry) == 64, "no padding");

GP_EXPORT CUresult
cuLinkCreate_v2(unsigned int numOptions, CUjit_option *options, void **optionValues,
                CUlinkState *stateOut)
{
    CUlinkState state;
    CUcontext ctx;
    CUresult cr;

    SD_ENTER(ctx);
    if (stateOut == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    state = sd_object_new(SD_LINK, sizeof(*state));
    if (state == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    state->ctx = ctx;
    state->cc = sd_ctx_capability(ctx);
    state->ptx.link = true;
    cr = sd_jit_parse(numOptions, options, optionValues, &state->logs);
    if (cr != CUDA_SUCCESS)
        sd_object_free(state);
    else
        *stateOut = state;
    return cr;
}

GP_EXPORT CUresult
cuLinkCreate(unsigned int numOptions, CUjit_option *options, void **optionValues,
             CUlinkState *stateOut)
{
    return cuLinkCreate_v2(numOptions, options, optionValues, stateOut);
}

static CUresult
link_get(CUlinkState state)
{
    SD_ENTER_READY();
    return sd_object_is(state, SD_LINK) && state->out == NULL ? sd_ctx_check(state->ctx)
                                                              : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult
add_text(CUlinkState state, const char *data, size_t size)
{
    struct sd_ptx_text *texts;
    char *text = strndup(data, size);

    texts = realloc(state->ptx.texts, (state->ptx.count + 1) * sizeof(*texts));
    if (texts != NULL)
        state->ptx.texts = texts;
    if (text == NULL || texts == NULL) {
        free(text);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    texts[state->ptx.count++] = (struct sd_ptx_text){text, strlen(text)};
    return CUDA_SUCCESS;
}

static CUresult
add_fatbin(CUlinkState state, const void *data)
{
    struct sd_ptx ptx;
    CUresult cr = sd_ptx_of_image(data, state->cc, &ptx);

    for (size_t i = 0; cr == CUDA_SUCCESS && i < ptx.count; i++)
        cr = add_text(state, ptx.texts[i].text, ptx.texts[i].len);
    if (cr == CUDA_SUCCESS || ptx.count != 0)
        sd_ptx_fini(&ptx);
    return cr;
}

/* Whether it begins as machine code does: an ELF file or an archive of such. */
static bool
is_code(const void *data, size_t size)
{
    return (size >= 4 && memcmp(data, "\177ELF", 4) == 0) ||
           (size >= 8 && memcmp(data, "!<arch>\n", 8) == 0);
}

GP_EXPORT CUresult
cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
                 unsigned int numOptions, CUjit_option *options, void **optionValues)
{
    struct sd_jit_logs ignored;
    CUresult cr = link_get(state);

    if (cr == CUDA_SUCCESS)
        cr = sd_jit_parse(numOptions, options, optionValues, &ignored);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (data == NULL || size == 0)
        return CUDA_ERROR_INVALID_VALUE;
    switch (type) {
    case CU_JIT_INPUT_PTX:
        return add_text(state, data, size);
    case CU_JIT_INPUT_FATBINARY:
        return add_fatbin(state, data);
    case CU_JIT_INPUT_CUBIN:
    case CU_JIT_INPUT_OBJECT:
    case CU_JIT_INPUT_LIBRARY:
        if (!is_code(data, size))
            return CUDA_ERROR_INVALID_IMAGE;
        log_error("software device: link: %s holds machine code, not PTX",
                  name != NULL ? name : "an input");
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    default:
        return sd_refuse("cuLinkAddData of this type");
    }
}

GP_EXPORT CUresult
cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name,
              unsigned int numOptions, CUjit_option *options, void **optionValues)
{
    return cuLinkAddData_v2(state, type, data, size, name, numOptions, options, optionValues);
}

GP_EXPORT CUresult
cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path, unsigned int numOptions,
                 CUjit_option *options, void **optionValues)
{
    GP_AUTO_FREE char *data = NULL;
    size_t size;
    CUresult cr = link_get(state);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_read_file(path, &data, &size);
    return cr != CUDA_SUCCESS
               ? cr
               : cuLinkAddData_v2(state, type, data, size, path, numOptions, options, optionValues);
}

GP_EXPORT CUresult
cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path, unsigned int numOptions,
              CUjit_option *options, void **optionValues)
{
    return cuLinkAddFile_v2(state, type, path, numOptions, options, optionValues);
}

/* Text with its NUL, padded. */
static size_t
entry_payload(const struct sd_ptx_text *text)
{
    return gp_align_up_u64(text->len + 1, 8);
}

static uint8_t *
make_fatbin(const struct sd_ptx *ptx, unsigned cc, size_t *size_p)
{
    const size_t head = sizeof(struct fatbin_entry) + gp_align_up_u64(sizeof(SD_LINKED_NAME), 8);
    struct fatbin_head fat = {GP_IMAGE_FATBIN_MAGIC, 1, sizeof(fat), 0};
    uint8_t *out, *at;

    for (size_t i = 0; i < ptx->count; i++)
        fat.payload += head + entry_payload(&ptx->texts[i]);
    out = calloc(1, sizeof(fat) + fat.payload);
    if (out == NULL)
        return NULL;
    memcpy(out, &fat, sizeof(fat));
    at = out + sizeof(fat);
    for (size_t i = 0; i < ptx->count; i++) {
        struct fatbin_entry entry = {
            .kind = GP_IMAGE_ENTRY_PTX,
            .version = 0x0101,
            .head_bytes = (uint32_t)head,
            .payload = entry_payload(&ptx->texts[i]),
            .major = 9,
            .sm = cc,
            .name_at = sizeof(entry),
            .name_bytes = sizeof(SD_LINKED_NAME) - 1,
            .flags = GP_IMAGE_FLAG_64BIT | GP_IMAGE_FLAG_LINUX,
        };

        memcpy(at, &entry, sizeof(entry));
        memcpy(at + sizeof(entry), SD_LINKED_NAME, sizeof(SD_LINKED_NAME));
        memcpy(at + head, ptx->texts[i].text, ptx->texts[i].len);
        at += head + entry.payload;
    }
    *size_p = sizeof(fat) + fat.payload;
    return out;
}

GP_EXPORT CUresult
cuLinkComplete(CUlinkState state, void **cubinOut, size_t *sizeOut)
{
    struct sd_module *code = NULL;
    struct sd_text text = {0};
    size_t size = 0;
    CUresult cr = link_get(state);

    if (cr != CUDA_SUCCESS)
        return cr;
    if (cubinOut == NULL || state->ptx.count == 0)
        return CUDA_ERROR_INVALID_VALUE;
    cr = sd_ptx_build(&state->ptx, state->cc, &text, &code);
    sd_jit_report(&state->logs, &text, cr);
    free(text.data);
    if (cr != CUDA_SUCCESS)
        return cr;
    sd_module_destroy(code); /* it was only to see whether it links */
    state->out = make_fatbin(&state->ptx, state->cc, &size);
    if (state->out == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *cubinOut = state->out;
    if (sizeOut != NULL)
        *sizeOut = size;
    return CUDA_SUCCESS;
}

GP_EXPORT CUresult
cuLinkDestroy(CUlinkState state)
{
    SD_ENTER_READY();
    if (!sd_object_is(state, SD_LINK))
        return CUDA_ERROR_INVALID_HANDLE;
    sd_ptx_fini(&state->ptx);
    free(state->out);
    sd_object_free(state);
    return CUDA_SUCCESS;
}
