/* backend/driver/soft/exec/core.c -- the builds of the interpreter and which one to use */
#include "backend/driver/soft/exec/insn.h"

extern const uint32_t sd_lane_bits[32];
extern const uint64_t sd_lane_bits64[32];

#ifdef SD_HAVE_X86_LEVELS
#include <cpuid.h>
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BIT4(n)  1u << (n), 1u << (n + 1), 1u << (n + 2), 1u << (n + 3)
#define BIT16(n) BIT4(n), BIT4(n + 4), BIT4(n + 8), BIT4(n + 12)
const uint32_t sd_lane_bits[32] __attribute__((aligned(64))) = {BIT16(0), BIT16(16)};
const uint64_t sd_lane_bits64[32] __attribute__((aligned(64))) = {BIT16(0), BIT16(16)};

#define DECLARE(isa)                                                                               \
    void sd_fill_alu_##isa(struct sd_core *core);                                                  \
    void sd_fill_ctl_##isa(struct sd_core *core);                                                  \
    void sd_fill_mem_##isa(struct sd_core *core);                                                  \
    void sd_fill_lanes_##isa(struct sd_core *core);                                                \
    void sd_fill_mma_##isa(struct sd_core *core);                                                  \
    static void fill_##isa(struct sd_core *core)                                                   \
    {                                                                                              \
        sd_fill_alu_##isa(core);                                                                   \
        sd_fill_ctl_##isa(core);                                                                   \
        sd_fill_mem_##isa(core);                                                                   \
        sd_fill_lanes_##isa(core);                                                                 \
        sd_fill_mma_##isa(core);                                                                   \
    }
DECLARE(base)
#ifdef SD_HAVE_X86_LEVELS
DECLARE(v3)
DECLARE(v4)
#endif

static struct sd_core core;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#ifdef SD_HAVE_X86_LEVELS
/* clang 14's __builtin_cpu_supports does not know the name. */
static bool
has_f16c(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

static void
choose(void)
{
    const char *want = getenv("GPUPOOL_SOFT_CORE"); /* base, v3 or v4; for tests */

    core.name = "base";
#ifdef SD_HAVE_X86_LEVELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2") && has_f16c() &&
        (want == NULL || strcmp(want, "base") != 0)) {
        core.name = "v3";
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512cd") && (want == NULL || strcmp(want, "v3") != 0))
            core.name = "v4";
    }
    if (strcmp(core.name, "v4") == 0) {
        fill_v4(&core);
        return;
    }
    if (strcmp(core.name, "v3") == 0) {
        fill_v3(&core);
        return;
    }
#else
    (void)want;
#endif
    fill_base(&core);
}

const struct sd_core *
sd_core_get(void)
{
    pthread_once(&once, choose);
    return &core;
}
