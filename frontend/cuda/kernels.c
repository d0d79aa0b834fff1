/* frontend/cuda/kernels.c -- the kernels and globals of a module or library */
#include "frontend/cuda/kernels.h"

#include "protocol/base/util.h"
#include "protocol/legacy/settings.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    const uint8_t *row; /* in the table */
    const char *name;
    struct fe_function *object; /* NULL until asked for */
    uint8_t *fetched;           /* a row that came later, ours */
};

struct global {
    struct global *next;
    const struct fe_context *ctx;
    uint64_t ctx_wire;
    uint64_t address, bytes;
    char name[];
};

struct fe_kernels {
    /* Set once. */
    enum wire_handle kind;
    uint64_t owner_wire;
    struct fe_object *owner;
    struct fe_session *session;
    uint8_t *table;
    uint32_t count;
    struct entry **by_name; /* sorted */

    pthread_mutex_t lock;
    /* Guarded by lock: object and fetched of the entries, the globals. */
    struct entry *entries;
    struct global *globals;

    /* Guarded by all_lock. */
    struct fe_kernels *next, *prev;

    struct gp_retired retired;
    struct fe_object *closed; /* rests with it */
};

/* All of them: what their owners' slabs hold, a leak checker does not see. */
static struct fe_kernels *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static void
all_add(struct fe_kernels *k)
{
    pthread_mutex_lock(&all_lock);
    k->next = all;
    if (k->next != NULL)
        k->next->prev = k;
    all = k;
    pthread_mutex_unlock(&all_lock);
}

static void
all_remove(struct fe_kernels *k)
{
    pthread_mutex_lock(&all_lock);
    if (k->prev != NULL)
        k->prev->next = k->next;
    else
        all = k->next;
    if (k->next != NULL)
        k->next->prev = k->prev;
    pthread_mutex_unlock(&all_lock);
}

static int
compare(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* Two passes: count, then fill. */
static bool
read_table(struct fe_kernels *k, size_t len)
{
    const struct wire_kernel_param *params;
    const uint8_t *at = k->table;
    struct wire_kernel_row row;
    size_t left = len;
    const char *name;
    uint32_t count = 0;
    bool bad = false;

    while (wire_kernel_next(&at, &left, &row, &params, &name, &bad))
        count++;
    if (bad)
        return false;
    k->entries = calloc(count + 1, sizeof(*k->entries));
    k->by_name = calloc(count + 1, sizeof(struct entry *));
    if (k->entries == NULL || k->by_name == NULL)
        return false;
    at = k->table;
    left = len;
    for (uint32_t i = 0; i < count; i++) {
        k->entries[i].row = at;
        (void)wire_kernel_next(&at, &left, &row, &params, &name, &bad);
        k->entries[i].name = name;
        k->by_name[i] = &k->entries[i];
    }
    k->count = count;
    if (count > 0)
        qsort(k->by_name, count, sizeof(struct entry *), compare);
    return true;
}

CUresult
fe_kernels_create(const uint8_t *table, size_t len, enum wire_handle kind, uint64_t owner_wire,
                  struct fe_object *owner, struct fe_kernels **kernels_p)
{
    struct fe_kernels *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    k->kind = kind;
    k->owner_wire = owner_wire;
    k->owner = owner;
    k->session = owner->context != NULL ? owner->context->head.session
                                        : ((struct fe_library *)owner)->session;
    pthread_mutex_init(&k->lock, NULL);
    all_add(k);
    k->table = malloc(len + 1);
    if (k->table != NULL)
        memcpy(k->table, table, len);
    if (k->table == NULL || !read_table(k, len)) {
        fe_kernels_destroy(k, NULL);
        return CUDA_ERROR_UNKNOWN;
    }
    *kernels_p = k;
    return CUDA_SUCCESS;
}

static void
close_function(struct fe_function *f)
{
    if (f == NULL)
        return;
    gp_legacy_forget((CUfunction)f);
    (void)fe_object_close(f);
}

/* Functions that somebody made since the handles became invalid go too. */
static void
end(struct gp_retired *retired)
{
    struct fe_kernels *k =
        (struct fe_kernels *)(void *)((char *)retired - offsetof(struct fe_kernels, retired));

    all_remove(k);
    for (uint32_t i = 0; i < k->count; i++) {
        struct fe_function *f = k->entries[i].object;

        if (f != NULL) {
            free((void *)f->there);
            if (f->function != NULL) {
                close_function(f->function);
                fe_object_rest(f->function);
            }
            close_function(f);
            fe_object_rest(f);
        }
        free(k->entries[i].fetched);
    }
    while (k->globals != NULL) {
        struct global *next = k->globals->next;

        free(k->globals);
        k->globals = next;
    }
    free(k->by_name);
    free(k->entries);
    free(k->table);
    pthread_mutex_destroy(&k->lock);
    if (k->closed != NULL)
        fe_object_rest(k->closed);
    free(k);
}

void
fe_kernels_destroy(struct fe_kernels *k, struct fe_object *owner)
{
    if (k == NULL) {
        if (owner != NULL)
            fe_object_rest(owner);
        return;
    }
    pthread_mutex_lock(&k->lock);
    for (uint32_t i = 0; i < k->count; i++) {
        struct fe_function *f = k->entries[i].object;

        if (f != NULL)
            close_function(f->function);
        close_function(f);
    }
    pthread_mutex_unlock(&k->lock);
    k->closed = owner;
    k->retired.end = end;
    gp_retire(&k->retired);
}

uint32_t
fe_kernels_count(const struct fe_kernels *k)
{
    return k->count;
}

struct fe_object *
fe_kernels_owner(const struct fe_kernels *k)
{
    return k->owner;
}

bool
fe_kernels_of_library(const struct fe_kernels *k)
{
    return k->kind == WIRE_HANDLE_KERNEL;
}

void
fe_kernels_lock(struct fe_kernels *k)
{
    pthread_mutex_lock(&k->lock);
}

void
fe_kernels_unlock(struct fe_kernels *k)
{
    pthread_mutex_unlock(&k->lock);
}

/* What a row says, into its object, before ready. */
static void
fill(struct fe_function *f, const uint8_t *bytes)
{
    struct wire_kernel_row row;
    size_t total = 0;

    memcpy(&row, bytes, sizeof(row));
    if (!(row.flags & WIRE_KERNEL_HAS_DETAILS))
        return;
    f->params = (const struct wire_kernel_param *)(const void *)(bytes + sizeof(row));
    f->nparams = row.nparams;
    for (uint32_t i = 0; i < row.nparams; i++)
        total += f->params[i].bytes;
    f->param_bytes = total > UINT32_MAX ? UINT32_MAX : (uint32_t)total;
    memcpy(f->attributes, row.attributes, sizeof(f->attributes));
    atomic_store_explicit(&f->mask, row.attribute_mask & 0xffff, memory_order_release);
    atomic_store_explicit(&f->ready, true, memory_order_release);
}

static CUresult
object_of(struct fe_kernels *k, struct entry *e, struct fe_function **f_p)
{
    struct wire_kernel_row row;
    struct fe_function *f;

    pthread_mutex_lock(&k->lock);
    f = e->object;
    if (f == NULL) {
        f = fe_object_create(k->kind, k->owner->context);
        if (f != NULL) {
            memcpy(&row, e->row, sizeof(row));
            f->session = k->session;
            f->owner = k;
            f->name = e->name;
            f->row = row.row;
            f->object.wire =
                wire_function_id(k->kind == WIRE_HANDLE_KERNEL, k->owner_wire, row.row);
            fill(f, e->row);
            e->object = f;
        }
    }
    pthread_mutex_unlock(&k->lock);
    if (f == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *f_p = f;
    return CUDA_SUCCESS;
}

CUresult
fe_kernels_by_name(struct fe_kernels *k, const char *name, struct fe_function **f_p)
{
    struct entry key = {.name = name}, *key_p = &key, **found;

    if (k->count == 0)
        return CUDA_ERROR_NOT_FOUND;
    found = bsearch(&key_p, k->by_name, k->count, sizeof(struct entry *), compare);
    return found != NULL ? object_of(k, *found, f_p) : CUDA_ERROR_NOT_FOUND;
}

CUresult
fe_kernels_at(struct fe_kernels *k, uint32_t index, struct fe_function **f_p)
{
    return object_of(k, &k->entries[index], f_p);
}

static struct global *
global_find(struct fe_kernels *k, const struct fe_context *ctx, const char *name)
{
    for (struct global *g = k->globals; g != NULL; g = g->next)
        if (g->ctx == ctx && g->ctx_wire == ctx->head.object.wire && strcmp(g->name, name) == 0)
            return g;
    return NULL;
}

bool
fe_kernels_global_get(struct fe_kernels *k, const struct fe_context *ctx, const char *name,
                      uint64_t *address_p, uint64_t *bytes_p)
{
    const struct global *g;

    pthread_mutex_lock(&k->lock);
    g = global_find(k, ctx, name);
    if (g != NULL) {
        *address_p = g->address;
        *bytes_p = g->bytes;
    }
    pthread_mutex_unlock(&k->lock);
    return g != NULL;
}

void
fe_kernels_global_put(struct fe_kernels *k, const struct fe_context *ctx, const char *name,
                      uint64_t address, uint64_t bytes)
{
    struct global *g = malloc(sizeof(*g) + strlen(name) + 1);

    if (g == NULL)
        return; /* it is asked again */
    g->ctx = ctx;
    g->ctx_wire = ctx->head.object.wire;
    g->address = address;
    g->bytes = bytes;
    strcpy(g->name, name);
    pthread_mutex_lock(&k->lock);
    if (global_find(k, ctx, name) != NULL) {
        free(g);
    } else {
        g->next = k->globals;
        k->globals = g;
    }
    pthread_mutex_unlock(&k->lock);
}

struct fe_function *
fe_function_get(const void *handle)
{
    struct fe_function *f = fe_object_get(WIRE_HANDLE_KERNEL, handle);

    if (f != NULL)
        return f;
    f = fe_object_get(WIRE_HANDLE_FUNCTION, handle);
    return f != NULL && f->kernel != NULL ? f->kernel : f;
}

/* One row that came by itself: checked, and that it is this kernel's. */
static bool
row_ok(const struct fe_function *f, const uint8_t *table, size_t len)
{
    const struct wire_kernel_param *params;
    struct wire_kernel_row row;
    const char *name;
    bool bad = false;

    return wire_kernel_next(&table, &len, &row, &params, &name, &bad) && row.row == f->row &&
           strcmp(name, f->name) == 0 && (row.flags & WIRE_KERNEL_HAS_DETAILS) != 0;
}

static CUresult
keep_row(struct fe_function *f, const uint8_t *table, size_t len)
{
    struct fe_kernels *k = f->owner;
    uint8_t *copy = malloc(len);

    if (copy == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(copy, table, len);
    pthread_mutex_lock(&k->lock);
    for (uint32_t i = 0; i < k->count; i++) {
        if (k->entries[i].object == f && k->entries[i].fetched == NULL) {
            k->entries[i].fetched = copy;
            fill(f, copy);
            copy = NULL;
            break;
        }
    }
    pthread_mutex_unlock(&k->lock);
    free(copy);
    return CUDA_SUCCESS;
}

CUresult
fe_function_fetch(struct fe_call *call, struct fe_function *f)
{
    struct wire_gpKernelInfo_args args = {.owner = f->object.wire, .row = f->row, .name = ""};
    struct wire_gpKernelInfo_reply reply;
    enum wire_call before = (enum wire_call)call->id;
    const uint8_t *bytes;
    size_t len;
    CUresult cr;
    void *to;

    cr = fe_call_next(call, WIRE_CALL_gpKernelInfo);
    if (cr != CUDA_SUCCESS)
        return cr;
    to = fe_post(call, wire_size_gpKernelInfo_args(&args));
    if (to == NULL)
        return fe_lost(call);
    wire_put_gpKernelInfo_args(to, &args);
    fe_post_done(call);
    cr = fe_wait(call, &bytes, &len);
    if (cr != CUDA_SUCCESS)
        return cr;
    if (!wire_get_gpKernelInfo_reply(bytes, len, &reply) ||
        !row_ok(f, reply.table, reply.table_len))
        return fe_malformed(call);
    cr = keep_row(f, reply.table, reply.table_len);
    return cr == CUDA_SUCCESS ? fe_call_next(call, before) : cr;
}
