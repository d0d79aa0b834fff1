/* tests/fuzz/fuzz_ptx.c -- hostile PTX text, from the parser to execution
 *
 * Whatever parses is finished, lowered and run on two small blocks whose parameters point into
 * one small device allocation; the kernel is cancelled after a while. A kernel that reaches any
 * other memory is caught by the address sanitizer or by the fences around the allocation. */
#include "backend/driver/soft/exec/exec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_BYTES (1u << 20)
#define FENCE_BYTES 4096u
#define PARAM_MAX   4096u
#define POLLS_MAX   3u

struct world {
    uint8_t *arena; /* FENCE_BYTES without access, ARENA_BYTES, FENCE_BYTES without access */
    uint64_t used;
    _Atomic uint64_t epoch;
    _Atomic unsigned polls;
};

static struct world world;
static struct sd_pool *pool;

static bool
span_of(void *opaque, uint64_t addr, struct sd_span *span)
{
    struct world *w = opaque;
    uint64_t base = (uint64_t)w->arena;

    if (addr < base || addr >= base + ARENA_BYTES)
        return false;
    *span = (struct sd_span){base, base + ARENA_BYTES, true};
    return true;
}

static void
print(void *opaque, const char *text, size_t len)
{
    (void)opaque;
    if (len > 0 && memchr(text, 1, len) == text) /* read it all */
        abort();
}

static uint64_t
heap_alloc(void *opaque, uint64_t bytes)
{
    struct world *w = opaque;
    uint64_t at = __atomic_fetch_add(&w->used, (bytes + 15) & ~15ull, __ATOMIC_RELAXED);

    if (bytes > ARENA_BYTES || at > ARENA_BYTES - bytes) {
        __atomic_store_n(&w->used, ARENA_BYTES, __ATOMIC_RELAXED);
        return 0;
    }
    return (uint64_t)w->arena + at;
}

static void
heap_free(void *opaque, uint64_t address)
{
    (void)opaque;
    (void)address;
}

static uint64_t
globaltimer_ns(void *opaque)
{
    (void)opaque;
    return 1;
}

static bool
cancelled(void *opaque)
{
    struct world *w = opaque;

    return atomic_fetch_add(&w->polls, 1) >= POLLS_MAX;
}

static bool
place_variables(struct sd_module *module)
{
    for (size_t i = 0; i < sd_module_var_count(module); i++) {
        const struct sd_var *var = sd_module_var(module, i);
        uint64_t align = var->align == 0 ? 1 : var->align;
        uint64_t at = (world.used + align - 1) / align * align;

        if (!var->defined)
            return false;
        if (var->bytes > ARENA_BYTES || at > ARENA_BYTES - var->bytes)
            return false;
        world.used = at + var->bytes;
        sd_module_place(module, i, (uint64_t)world.arena + at);
    }
    return true;
}

static void
run_kernel(const struct sd_kernel *kernel)
{
    static const struct sd_env template = {
        .opaque = &world, .span_of = span_of, .span_epoch = &world.epoch, .print = print,
        .heap_alloc = heap_alloc, .heap_free = heap_free, .globaltimer_ns = globaltimer_ns,
        .cancelled = cancelled, .sm_count = 16,
    };
    uint8_t params[PARAM_MAX];
    struct sd_fault fault;
    struct sd_launch launch = {
        .kernel = kernel, .grid = {2, 1, 1}, .block = {33, 1, 1}, .cluster = {1 + kernel->nparams % 2, 1, 1},
        .dynamic_shared_bytes = 256, .params = params, .env = &template,
    };

    if (kernel->param_bytes > PARAM_MAX || kernel->static_shared_bytes > 48u << 10 ||
        kernel->local_bytes > 1u << 16)
        return;
    for (size_t i = 0; i + 8 <= sizeof(params); i += 8) {
        uint64_t pointer = (uint64_t)world.arena + ARENA_BYTES / 2 + i;

        memcpy(params + i, &pointer, 8);
    }
    atomic_store(&world.polls, 0);
    (void)sd_exec_run(pool, &launch, &fault);
}

static void
set_up(void)
{
    size_t bytes = ARENA_BYTES + 2 * FENCE_BYTES;
    uint8_t *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED ||
        mprotect(at + FENCE_BYTES, ARENA_BYTES, PROT_READ | PROT_WRITE) != 0 ||
        sd_pool_create(1, &pool) != GP_OK)
        abort();
    world.arena = at + FENCE_BYTES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sd_module *module;
    struct sd_text log = {0};

    if (world.arena == NULL)
        set_up();
    world.used = 0;
    if (sd_module_parse((const char *)data, size, &log, &module) == CUDA_SUCCESS) {
        if (place_variables(module) && sd_module_finish(module, &log) == CUDA_SUCCESS)
            for (size_t i = 0; i < sd_module_kernel_count(module) && i < 4; i++) {
                const struct sd_kernel *kernel = sd_module_kernel(module, i);

                if (sd_kernel_prepare(kernel, &log) == CUDA_SUCCESS)
                    run_kernel(kernel);
            }
        sd_module_destroy(module);
    }
    free(log.data);
    return 0;
}
