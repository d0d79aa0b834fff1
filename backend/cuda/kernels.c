/* backend/cuda/kernels.c -- the kernels of modules and libraries, and their tables */
#include "backend/cuda/module.h"

#include "backend/cuda/account.h"

#include "be_hooks.h"
#include "protocol/base/log.h"
#include "protocol/base/util.h"
#include "protocol/wire/kernel_table.h"

#include <stdlib.h>
#include <string.h>

void *
be_owner_handle(struct be_owner *owner)
{
    return owner->library ? (void *)owner->lib : (void *)owner->module;
}

CUresult
be_kernels_add(struct be_owner *owner, CUfunction function, CUkernel kernel, uint32_t *row_p)
{
    for (uint32_t i = 0; i < owner->count; i++) {
        if (owner->library ? owner->kernels[i].kernel == kernel
                           : owner->kernels[i].function == function) {
            *row_p = i;
            return CUDA_SUCCESS;
        }
    }
    if (owner->count == owner->cap) {
        uint32_t cap = owner->cap == 0 ? 8 : owner->cap * 2;
        struct be_kernel *kernels;

        if (cap > BE_OWNER_KERNELS_MAX)
            return CUDA_ERROR_OUT_OF_MEMORY;
        kernels = realloc(owner->kernels, cap * sizeof(*kernels));
        if (kernels == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        owner->kernels = kernels;
        owner->cap = cap;
    }
    *row_p = owner->count;
    owner->kernels[owner->count++] =
        (struct be_kernel){.function = owner->library ? NULL : function, .kernel = kernel};
    return CUDA_SUCCESS;
}

static CUresult
list_functions(struct be_call *call, struct be_owner *owner, void ***list_p, unsigned *count_p)
{
    const struct be_driver_table *t = call->driver;
    unsigned count = 0;
    void **list;
    CUresult cr;

    if (owner->library
            ? t->cuLibraryGetKernelCount == NULL || t->cuLibraryEnumerateKernels == NULL
            : t->cuModuleGetFunctionCount == NULL || t->cuModuleEnumerateFunctions == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    cr = owner->library ? t->cuLibraryGetKernelCount(&count, owner->lib)
                        : t->cuModuleGetFunctionCount(&count, owner->module);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (count > BE_OWNER_KERNELS_MAX)
        return CUDA_ERROR_NOT_SUPPORTED;
    list = calloc(count + 1, sizeof(*list));
    if (list == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (count != 0)
        cr = owner->library
                 ? t->cuLibraryEnumerateKernels((CUkernel *)list, count, owner->lib)
                 : t->cuModuleEnumerateFunctions((CUfunction *)list, count, owner->module);
    if (cr != CUDA_SUCCESS) {
        free(list);
        return cr;
    }
    *list_p = list;
    *count_p = count;
    return CUDA_SUCCESS;
}

CUresult
be_kernels_list(struct be_call *call, struct be_owner *owner)
{
    GP_AUTO_FREE void **list = NULL;
    unsigned count = 0;
    CUresult cr;

    cr = list_functions(call, owner, &list, &count);
    if (cr != CUDA_SUCCESS) {
        /* Such a driver cannot list: kernels are found by name, one by one. */
        log_debug("module: kernels cannot be listed: %s",
                  be_driver_error(call->session->driver, cr));
        return CUDA_SUCCESS;
    }
    if (count == 0)
        return CUDA_SUCCESS;
    owner->kernels = calloc(count, sizeof(*owner->kernels));
    if (owner->kernels == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    owner->cap = owner->count = count;
    for (unsigned i = 0; i < count; i++) {
        if (owner->library)
            owner->kernels[i].kernel = list[i];
        else
            owner->kernels[i].function = list[i];
    }
    return CUDA_SUCCESS;
}

/* -- by id ------------------------------------------------------------------------------------- */

/* The owner that an id of one of its rows names, be there such a row or not. */
static struct be_owner *
owner_find(struct be_session *session, uint64_t id)
{
    unsigned kind = id >> 63 != 0 ? WIRE_HANDLE_LIBRARY : WIRE_HANDLE_MODULE;
    struct be_handle_slot *slot =
        be_handles_at(&session->handles, kind, (uint32_t)(id >> 40 & 0x7fffff));

    if (slot == NULL || (slot->generation & 0xffff) != (id >> 24 & 0xffff))
        return NULL;
    return slot->object;
}

CUresult
be_kernel_find(struct be_session *session, uint64_t id, struct be_owner **owner_p,
               struct be_kernel **kernel_p)
{
    struct be_owner *owner = owner_find(session, id);
    uint32_t row = (uint32_t)(id & 0xffffff);

    if (owner == NULL || row >= owner->count)
        return CUDA_ERROR_INVALID_HANDLE;
    *owner_p = owner;
    *kernel_p = &owner->kernels[row];
    return CUDA_SUCCESS;
}

CUresult
be_kernel_function(struct be_session *session, struct be_owner *owner, struct be_kernel *kernel,
                   CUfunction *function_p)
{
    CUfunction function = NULL;
    struct be_meter meter;
    CUresult cr;

    if (!owner->library) {
        *function_p = kernel->function;
        return CUDA_SUCCESS;
    }
    if (session->current == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (kernel->function == NULL || kernel->function_context != session->current) {
        if (session->driver->table.cuKernelGetFunction == NULL)
            return CUDA_ERROR_NOT_SUPPORTED;
        /* The first in a context loads the library there. */
        be_meter_begin(session, session->current->device, &meter);
        cr = session->driver->table.cuKernelGetFunction(&function, kernel->kernel);
        be_meter_end_anyway(session, &meter, &owner->charged[meter.device]);
        if (cr != CUDA_SUCCESS)
            return cr;
        kernel->function = function;
        kernel->function_context = session->current;
    }
    *function_p = kernel->function;
    return CUDA_SUCCESS;
}

CUresult
be_function_get(struct be_session *session, uint64_t id, CUfunction *function_p)
{
    struct be_owner *owner;
    struct be_kernel *kernel;
    CUresult cr = be_kernel_find(session, id, &owner, &kernel);

    return cr == CUDA_SUCCESS ? be_kernel_function(session, owner, kernel, function_p) : cr;
}

CUresult
be_kernel_get(struct be_session *session, uint64_t id, CUkernel *kernel_p)
{
    struct be_owner *owner;
    struct be_kernel *kernel;
    CUresult cr = be_kernel_find(session, id, &owner, &kernel);

    if (cr == CUDA_SUCCESS && !owner->library)
        cr = CUDA_ERROR_INVALID_HANDLE;
    if (cr == CUDA_SUCCESS)
        *kernel_p = kernel->kernel;
    return cr;
}

/* -- parameters ----------------------------------------------------------------------------------
 */

static CUresult
param_info(struct be_session *session, const struct be_kernel *kernel, uint32_t i, size_t *offset,
           size_t *bytes)
{
    const struct be_driver_table *t = &session->driver->table;

    if (kernel->kernel != NULL)
        return t->cuKernelGetParamInfo != NULL
                   ? t->cuKernelGetParamInfo(kernel->kernel, i, offset, bytes)
                   : CUDA_ERROR_NOT_SUPPORTED;
    return t->cuFuncGetParamInfo != NULL ? t->cuFuncGetParamInfo(kernel->function, i, offset, bytes)
                                         : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult
be_kernel_params(struct be_session *session, struct be_owner *owner, struct be_kernel *kernel)
{
    struct be_param params[WIRE_KERNEL_PARAMS_MAX];
    uint32_t count = 0, total = 0;
    size_t offset = 0, bytes = 0;
    CUresult cr = CUDA_SUCCESS;

    (void)owner;
    if (kernel->params_known)
        return CUDA_SUCCESS;
    while (count < WIRE_KERNEL_PARAMS_MAX) {
        cr = param_info(session, kernel, count, &offset, &bytes);
        if (cr != CUDA_SUCCESS)
            break;
        params[count].offset = (uint32_t)offset;
        params[count].bytes = (uint32_t)bytes;
        total += (uint32_t)bytes;
        count++;
    }
    /* The driver takes as many pointers as the kernel has parameters, so all must be known. */
    if (count == WIRE_KERNEL_PARAMS_MAX &&
        param_info(session, kernel, count, &offset, &bytes) != CUDA_ERROR_INVALID_VALUE) {
        log_warn("module: a kernel with more than %u parameters", WIRE_KERNEL_PARAMS_MAX);
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    /* The first index that is not there says INVALID_VALUE. */
    if (cr != CUDA_SUCCESS && cr != CUDA_ERROR_INVALID_VALUE)
        return cr;
    if (count != 0) {
        kernel->params = malloc(count * sizeof(*params));
        if (kernel->params == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        memcpy(kernel->params, params, count * sizeof(*params));
    }
    kernel->param_count = count;
    kernel->param_bytes = total;
    kernel->params_known = true;
    return CUDA_SUCCESS;
}

/* -- rows
 * ------------------------------------------------------------------------------------------ */

/* *name_p is empty where it is too long for a row. */
static CUresult
kernel_name(struct be_call *call, const struct be_kernel *kernel, const char **name_p)
{
    const struct be_driver_table *t = call->driver;
    const char *name = NULL;
    CUresult cr = CUDA_ERROR_NOT_SUPPORTED;

    if (kernel->kernel != NULL && t->cuKernelGetName != NULL)
        cr = t->cuKernelGetName(&name, kernel->kernel);
    else if (kernel->kernel == NULL && t->cuFuncGetName != NULL)
        cr = t->cuFuncGetName(&name, kernel->function);
    *name_p = cr == CUDA_SUCCESS && name != NULL && strlen(name) < WIRE_KERNEL_NAME_MAX ? name : "";
    return cr;
}

static void
row_attributes(struct be_call *call, struct be_owner *owner, struct be_kernel *kernel,
               struct wire_kernel_row *row)
{
    const struct be_driver_table *t = call->driver;
    int32_t device = call->context != NULL ? call->context->device : 0;

    for (int i = 0; i < WIRE_KERNEL_ATTRIBUTES; i++) {
        CUresult cr;
        int value = 0;

        if (owner->library)
            cr = t->cuKernelGetAttribute != NULL
                     ? t->cuKernelGetAttribute(&value, (CUfunction_attribute)i, kernel->kernel,
                                               device)
                     : CUDA_ERROR_NOT_SUPPORTED;
        else
            cr = t->cuFuncGetAttribute(&value, (CUfunction_attribute)i, kernel->function);
        if (cr == CUDA_SUCCESS) {
            row->attributes[i] = value;
            row->attribute_mask |= 1u << i;
        }
    }
}

CUresult
be_kernels_row(struct be_call *call, struct be_owner *owner, uint32_t number, bool details,
               struct gp_buf *out)
{
    static const uint8_t zeros[8];
    struct be_kernel *kernel = &owner->kernels[number];
    struct wire_kernel_row row = {.row = number};
    const char *name;
    CUresult cr = kernel_name(call, kernel, &name);
    size_t bytes;

    /* A row with details answers a question by name: better the error than a row of nobody. */
    if (cr != CUDA_SUCCESS && cr != CUDA_ERROR_NOT_SUPPORTED && details)
        return cr;
    row.name_len = (uint32_t)strlen(name);
    if (details && be_kernel_params(call->session, owner, kernel) == CUDA_SUCCESS) {
        row.flags = WIRE_KERNEL_HAS_DETAILS;
        row.nparams = kernel->param_count;
        row_attributes(call, owner, kernel, &row);
    }
    bytes = sizeof(row) + row.nparams * sizeof(struct wire_kernel_param) + row.name_len + 1;
    row.bytes = (uint32_t)((bytes + 7) & ~(size_t)7);
    if (out->len + row.bytes > BE_TABLE_BYTES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    gp_buf_append(out, &row, sizeof(row));
    for (uint32_t i = 0; i < row.nparams; i++) {
        struct wire_kernel_param param = {kernel->params[i].offset, kernel->params[i].bytes};

        gp_buf_append(out, &param, sizeof(param));
    }
    gp_buf_append(out, name, row.name_len + 1);
    gp_buf_append(out, zeros, row.bytes - bytes);
    return gp_buf_status(out) == GP_OK ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult
be_kernels_table(struct be_call *call, struct be_owner *owner, struct gp_buf *out)
{
    bool details = owner->count <= BE_TABLE_DETAILS_MAX;
    CUresult cr = CUDA_SUCCESS;

    for (uint32_t i = 0; i < owner->count && cr == CUDA_SUCCESS; i++)
        cr = be_kernels_row(call, owner, i, details, out);
    /* What does not fit is asked for by name. */
    return cr == CUDA_ERROR_INVALID_VALUE ? CUDA_SUCCESS : cr;
}

/* -- one kernel
 * -------------------------------------------------------------------------------------- */

CUresult
be_hook_gpKernelInfo(struct be_call *call, const struct wire_gpKernelInfo_args *args,
                     struct wire_gpKernelInfo_reply *reply)
{
    const struct be_driver_table *t = call->driver;
    struct be_owner *owner = owner_find(call->session, args->owner);
    struct gp_buf *table = be_scratch(call->session);
    uint32_t row = args->row;
    CUfunction function = NULL;
    CUkernel kernel = NULL;
    CUresult cr = CUDA_SUCCESS;

    if (owner == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (row == WIRE_KERNEL_ROW_NONE) {
        if (owner->library)
            cr = t->cuLibraryGetKernel(&kernel, owner->lib, args->name);
        else
            cr = t->cuModuleGetFunction(&function, owner->module, args->name);
        if (cr == CUDA_SUCCESS)
            cr = be_kernels_add(owner, function, kernel, &row);
        if (cr != CUDA_SUCCESS)
            return cr;
    }
    if (row >= owner->count)
        return CUDA_ERROR_INVALID_VALUE;
    cr = be_kernel_params(call->session, owner, &owner->kernels[row]);
    if (cr == CUDA_SUCCESS)
        cr = be_kernels_row(call, owner, row, true, table);
    if (cr == CUDA_SUCCESS && table->len > 65536)
        cr = CUDA_ERROR_INVALID_VALUE;
    if (cr != CUDA_SUCCESS)
        return cr;
    reply->table = table->data;
    reply->table_len = (uint32_t)table->len;
    return CUDA_SUCCESS;
}
