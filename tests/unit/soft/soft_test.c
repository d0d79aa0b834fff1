/* tests/unit/soft/soft_test.c */
#include "tests/unit/soft/soft_test.h"

#include <string.h>
#include <time.h>

static bool
span_of(void *opaque, uint64_t addr, struct sd_span *span)
{
    const struct soft *s = opaque;
    unsigned i;

    for (i = 0; i < s->nspans; i++)
        if (addr >= s->spans[i].base && addr < s->spans[i].end) {
            *span = s->spans[i];
            return true;
        }
    return false;
}

static void
print(void *opaque, const char *text, size_t len)
{
    struct soft *s = opaque;
    char *p = realloc(s->printed, s->printed_len + len + 1);

    cr_assert_not_null(p);
    memcpy(p + s->printed_len, text, len);
    s->printed = p;
    s->printed_len += len;
    p[s->printed_len] = '\0';
}

static uint64_t
heap_alloc(void *opaque, uint64_t bytes)
{
    return bytes > 1u << 20 ? 0 : SOFT_PTR(soft_alloc(opaque, bytes));
}

static void
heap_free(void *opaque, uint64_t address)
{
    struct soft *s = opaque;
    unsigned i;

    for (i = 0; i < s->nspans; i++)
        if (s->spans[i].base == address) {
            free((void *)(uintptr_t)address);
            s->spans[i] = s->spans[--s->nspans];
            s->epoch++;
            return;
        }
    cr_assert_fail("free of an address that was not allocated");
}

static uint64_t
globaltimer(void *opaque)
{
    struct timespec ts;

    (void)opaque;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool
cancelled(void *opaque)
{
    struct soft *s = opaque;

    return s->cancel_after != 0 && ++s->polls >= s->cancel_after;
}

void *
soft_alloc(struct soft *s, size_t bytes)
{
    void *p = aligned_alloc(256, gp_align_up_u64(bytes, 256));

    cr_assert_not_null(p);
    cr_assert_lt(s->nspans, GP_ARRAY_LEN(s->spans));
    memset(p, 0, gp_align_up_u64(bytes, 256));
    s->spans[s->nspans++] =
        (struct sd_span){.base = SOFT_PTR(p), .end = SOFT_PTR(p) + bytes, .writable = true};
    return p;
}

static struct soft *
start(unsigned threads)
{
    struct soft *s = calloc(1, sizeof(*s));

    cr_assert_not_null(s);
    s->env = (struct sd_env){.opaque = s,
                             .span_of = span_of,
                             .span_epoch = &s->epoch,
                             .print = print,
                             .heap_alloc = heap_alloc,
                             .heap_free = heap_free,
                             .globaltimer_ns = globaltimer,
                             .cancelled = cancelled,
                             .sm_count = 16};
    cr_assert_eq(sd_pool_create(threads, &s->pool), GP_OK);
    return s;
}

static void
finish(struct soft *s)
{
    struct sd_text log = {0};
    size_t i;

    for (i = 0; i < sd_module_var_count(s->module); i++)
        sd_module_place(s->module, i, SOFT_PTR(soft_alloc(s, sd_module_var(s->module, i)->bytes)));
    cr_assert_eq(sd_module_finish(s->module, &log), CUDA_SUCCESS, "%s", log.data);
    free(log.data);
}

struct soft *
soft_open(const char *ptx, unsigned threads)
{
    struct soft *s = start(threads);
    struct sd_text log = {0};
    CUresult cr = sd_module_parse(ptx, strlen(ptx), &log, &s->module);

    cr_assert_eq(cr, CUDA_SUCCESS, "parse: %d %s", cr, log.data);
    free(log.data);
    finish(s);
    return s;
}

struct soft *
soft_open_linked(const char *const *ptx, unsigned count, unsigned threads)
{
    struct soft *s = start(threads);
    struct sd_module *modules[8];
    struct sd_text log = {0};
    unsigned i;

    for (i = 0; i < count; i++)
        cr_assert_eq(sd_module_parse(ptx[i], strlen(ptx[i]), &log, &modules[i]), CUDA_SUCCESS, "%s",
                     log.data);
    cr_assert_eq(sd_module_link(modules, count, &log, &s->module), CUDA_SUCCESS, "%s", log.data);
    free(log.data);
    finish(s);
    return s;
}

void
soft_close(struct soft *s)
{
    unsigned i;

    sd_pool_destroy(s->pool);
    sd_module_destroy(s->module);
    for (i = 0; i < s->nspans; i++)
        free((void *)(uintptr_t)s->spans[i].base);
    free(s->printed);
    free(s);
}

const struct sd_kernel *
soft_kernel(struct soft *s, const char *name)
{
    size_t i;

    for (i = 0; i < sd_module_kernel_count(s->module); i++)
        if (strcmp(sd_module_kernel(s->module, i)->name, name) == 0)
            return sd_module_kernel(s->module, i);
    cr_assert_fail("no kernel %s", name);
    return NULL;
}

CUresult
soft_launch(struct soft *s, const char *name, struct soft_shape shape, const uint64_t *args)
{
    const struct sd_kernel *k = soft_kernel(s, name);
    uint8_t params[256] = {0};
    struct sd_launch launch = {.kernel = k,
                               .grid = {shape.grid, shape.grid_y != 0 ? shape.grid_y : 1, 1},
                               .block = {shape.block, shape.block_y != 0 ? shape.block_y : 1,
                                         shape.block_z != 0 ? shape.block_z : 1},
                               .cluster = {shape.cluster != 0 ? shape.cluster : 1,
                                           shape.cluster_y != 0 ? shape.cluster_y : 1, 1},
                               .explicit_cluster = shape.cluster != 0,
                               .dynamic_shared_bytes = shape.shared,
                               .params = params,
                               .cooperative = shape.cooperative,
                               .env = &s->env};
    struct sd_text log = {0};
    CUresult cr = sd_kernel_prepare(k, &log);
    uint32_t i;

    cr_assert_eq(cr, CUDA_SUCCESS, "prepare: %d %s", cr, log.data);
    free(log.data);
    for (i = 0; i < k->nparams; i++)
        memcpy(params + k->params[i].offset, &args[i], k->params[i].bytes);
    memset(&s->fault, 0, sizeof(s->fault));
    return sd_exec_run(s->pool, &launch, &s->fault);
}
