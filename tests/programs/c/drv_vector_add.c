/* tests/programs/c/drv_vector_add.c -- the first program of everybody: c = a + b, with both ways
 * of passing parameters, and sizes that do and do not fill the last block */
#include "drv.h"
#include "vector_ptx.h"

static void
add(CUfunction f, uint32_t n, bool as_buffer)
{
    CUdeviceptr a, b, c;
    float *h;

    h = malloc(3ul * n * sizeof(float));
    if (h == NULL)
        exit(2);
    for (uint32_t i = 0; i < n; i++) {
        h[i] = (float)i * 0.25f;
        h[n + i] = 1.0f / (float)(i + 1);
    }
    CU(cuMemAlloc(&a, n * sizeof(float)));
    CU(cuMemAlloc(&b, n * sizeof(float)));
    CU(cuMemAlloc(&c, n * sizeof(float)));
    CU(cuMemcpyHtoD(a, h, n * sizeof(float)));
    CU(cuMemcpyHtoD(b, h + n, n * sizeof(float)));

    if (as_buffer) {
        struct {
            CUdeviceptr a, b, c;
            uint32_t n;
        } packed = {a, b, c, n};
        size_t size = offsetof(__typeof__(packed), n) + sizeof(packed.n);
        void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE,
                         &size, CU_LAUNCH_PARAM_END};

        CU(cuLaunchKernel(f, (n + 255) / 256, 1, 1, 256, 1, 1, 0, NULL, NULL, extra));
    } else {
        void *params[] = {&a, &b, &c, &n};

        CU(cuLaunchKernel(f, (n + 255) / 256, 1, 1, 256, 1, 1, 0, NULL, params, NULL));
    }

    CU(cuMemcpyDtoH(h + 2ul * n, c, n * sizeof(float)));
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < n; i++)
        wrong += h[2ul * n + i] != h[i] + h[n + i];
    EXPECT(wrong == 0);
    printf("%u elements by %s: %u wrong\n", n, as_buffer ? "buffer" : "pointers", wrong);

    CU(cuMemFree(a));
    CU(cuMemFree(b));
    CU(cuMemFree(c));
    free(h);
}

int
main(void)
{
    static const uint32_t sizes[] = {1, 31, 256, 50000, 1u << 20};
    CUdevice dev = drv_open();
    CUfunction f = drv_kernel(vector_ptx, "vector_add");

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        add(f, sizes[i], false);
        add(f, sizes[i], true);
    }
    drv_close(dev);
    return drv_result("drv_vector_add");
}
