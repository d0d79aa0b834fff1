/* tests/programs/c/drv_matrix_mul.c -- tiled matrix product in shared memory, single and double
 * precision, static and dynamic shared memory, compared bit by bit with the host */
#include "drv.h"
#include "matrix_ptx.h"

#include <math.h>

#define N 112u

static void
run(CUfunction f, unsigned shared_bytes, void *c, const void *a, const void *b, size_t bytes)
{
    CUdeviceptr da, db, dc;
    uint32_t n = N;
    void *params[] = {&dc, &da, &db, &n};

    CU(cuMemAlloc(&da, bytes));
    CU(cuMemAlloc(&db, bytes));
    CU(cuMemAlloc(&dc, bytes));
    CU(cuMemcpyHtoD(da, a, bytes));
    CU(cuMemcpyHtoD(db, b, bytes));
    CU(cuLaunchKernel(f, N / 16, N / 16, 1, 16, 16, 1, shared_bytes, NULL, params, NULL));
    CU(cuCtxSynchronize());
    CU(cuMemcpyDtoH(c, dc, bytes));
    CU(cuMemFree(da));
    CU(cuMemFree(db));
    CU(cuMemFree(dc));
}

static void
single(CUmodule mod)
{
    static float a[N * N], b[N * N], c[N * N];
    unsigned wrong = 0;
    CUfunction f;

    for (unsigned i = 0; i < N * N; i++) {
        a[i] = (float)(i % 97) / 31.0f - 1.0f;
        b[i] = (float)(i % 89) / 29.0f - 1.5f;
    }
    CU(cuModuleGetFunction(&f, mod, "matmul_f32"));
    run(f, 0, c, a, b, sizeof(a));
    for (unsigned y = 0; y < N; y++) {
        for (unsigned x = 0; x < N; x++) {
            float sum = 0.0f;

            for (unsigned k = 0; k < N; k++)
                sum = fmaf(a[y * N + k], b[k * N + x], sum);
            wrong += memcmp(&sum, &c[y * N + x], sizeof(sum)) != 0;
        }
    }
    EXPECT(wrong == 0);
    printf("single precision: %u of %u wrong\n", wrong, N * N);
}

static void
twice(CUmodule mod)
{
    static double a[N * N], b[N * N], c[N * N];
    unsigned wrong = 0;
    CUfunction f;

    for (unsigned i = 0; i < N * N; i++) {
        a[i] = (double)(i % 97) / 31.0 - 1.0;
        b[i] = (double)(i % 89) / 29.0 - 1.5;
    }
    CU(cuModuleGetFunction(&f, mod, "matmul_f64"));
    run(f, 2 * 16 * 16 * sizeof(double), c, a, b, sizeof(a));
    for (unsigned y = 0; y < N; y++) {
        for (unsigned x = 0; x < N; x++) {
            double sum = 0.0;

            for (unsigned k = 0; k < N; k++)
                sum = fma(a[y * N + k], b[k * N + x], sum);
            wrong += memcmp(&sum, &c[y * N + x], sizeof(sum)) != 0;
        }
    }
    EXPECT(wrong == 0);
    printf("double precision: %u of %u wrong\n", wrong, N * N);
}

int
main(void)
{
    CUdevice dev = drv_open();
    CUmodule mod;

    CU(cuModuleLoadData(&mod, matrix_ptx));
    single(mod);
    twice(mod);
    CU(cuModuleUnload(mod));
    drv_close(dev);
    return drv_result("drv_matrix_mul");
}
