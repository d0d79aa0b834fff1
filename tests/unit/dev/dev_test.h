/* tests/unit/dev/dev_test.h -- a device with its primary context, and kernels in PTX of our own */
#ifndef DEV_TEST_H
#define DEV_TEST_H

#include "cuda_api.h"
#include "protocol/base/util.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#define MIB (1u << 20)

#define ok(call)                                                                                   \
    do {                                                                                           \
        CUresult ok_cr_ = (call);                                                                  \
        cr_assert_eq(ok_cr_, CUDA_SUCCESS, "%s: %d", #call, (int)ok_cr_);                          \
    } while (0)

#define fails(call, want)                                                                          \
    do {                                                                                           \
        CUresult fails_cr_ = (call);                                                               \
        cr_assert_eq(fails_cr_, (want), "%s: %d", #call, (int)fails_cr_);                          \
    } while (0)

/* fill(p, n, v): p[i] = v; add(p, n, v): p[i] += v; both u32, one thread per element.
 * spin(flag, out): waits for *flag != 0, then *out = 42. */
static const char dev_ptx[] =
    ".version 7.0\n.target sm_75\n.address_size 64\n"
    ".visible .global .align 4 .b32 shown = 17;\n"
    ".visible .entry fill(.param .u64 p, .param .u32 n, .param .u32 v) {\n"
    ".reg .pred %q; .reg .b32 %r<6>; .reg .b64 %d<4>;\n"
    "ld.param.u64 %d1, [p]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [v];\n"
    "cvta.to.global.u64 %d1, %d1;\n"
    "mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "mad.lo.s32 %r3, %r3, %r4, %r5; setp.ge.u32 %q, %r3, %r1; @%q bra D;\n"
    "mul.wide.u32 %d2, %r3, 4; add.s64 %d1, %d1, %d2; st.global.u32 [%d1], %r2;\n"
    "D: ret; }\n"
    ".visible .entry add(.param .u64 p, .param .u32 n, .param .u32 v) {\n"
    ".reg .pred %q; .reg .b32 %r<7>; .reg .b64 %d<4>;\n"
    "ld.param.u64 %d1, [p]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [v];\n"
    "cvta.to.global.u64 %d1, %d1;\n"
    "mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n"
    "mad.lo.s32 %r3, %r3, %r4, %r5; setp.ge.u32 %q, %r3, %r1; @%q bra D;\n"
    "mul.wide.u32 %d2, %r3, 4; add.s64 %d1, %d1, %d2; ld.global.u32 %r6, [%d1];\n"
    "add.s32 %r6, %r6, %r2; st.global.u32 [%d1], %r6;\n"
    "D: ret; }\n"
    ".visible .entry spin(.param .u64 f, .param .u64 o) {\n"
    ".reg .pred %q; .reg .b32 %r<3>; .reg .b64 %d<3>;\n"
    "ld.param.u64 %d1, [f]; ld.param.u64 %d2, [o];\n"
    "L: ld.volatile.u32 %r1, [%d1]; setp.eq.u32 %q, %r1, 0; @%q bra L;\n"
    "mov.u32 %r2, 42; st.u32 [%d2], %r2; ret; }\n"
    ".visible .entry bounded(.param .u64 p) .maxntid 64, 1, 1 { ret; }\n";

struct dev {
    CUcontext ctx;
    CUmodule mod;
    CUfunction fill;
    CUfunction add;
    CUfunction spin;
};

static inline struct dev
dev_open(void)
{
    struct dev d;

    ok(cuInit(0));
    ok(cuDevicePrimaryCtxRetain(&d.ctx, 0));
    ok(cuCtxSetCurrent(d.ctx));
    ok(cuModuleLoadData(&d.mod, dev_ptx));
    ok(cuModuleGetFunction(&d.fill, d.mod, "fill"));
    ok(cuModuleGetFunction(&d.add, d.mod, "add"));
    ok(cuModuleGetFunction(&d.spin, d.mod, "spin"));
    return d;
}

/* Releasing the context must give back all memory. */
static inline void
dev_close(struct dev *d)
{
    size_t free_bytes, total;

    (void)d;
    ok(cuDevicePrimaryCtxRelease(0));
    ok(cuDevicePrimaryCtxRetain(&d->ctx, 0));
    ok(cuMemGetInfo_v2(&free_bytes, &total));
    cr_assert_eq(free_bytes, total, "%zu bytes leaked", total - free_bytes);
    ok(cuDevicePrimaryCtxRelease(0));
}

static inline CUresult
dev_launch(CUfunction f, CUdeviceptr p, uint32_t n, uint32_t v, CUstream stream)
{
    void *params[] = {&p, &n, &v};

    return cuLaunchKernel(f, (n + 127) / 128, 1, 1, 128, 1, 1, 0, stream, params, NULL);
}

static inline uint32_t
dev_word(CUdeviceptr p, size_t index)
{
    uint32_t word;

    ok(cuMemcpyDtoH_v2(&word, p + 4 * index, 4));
    return word;
}

#endif
