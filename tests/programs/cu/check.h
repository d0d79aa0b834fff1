/* tests/programs/cu/check.h -- what the CUDA runtime test programs share
 *
 * A program prints what it found, the same on any device, and ends with
 * `return test_result("name")`: 0 only if no check failed. */
#ifndef TEST_PROGRAMS_CHECK_H
#define TEST_PROGRAMS_CHECK_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <atomic>

/* The call must succeed; a failure ends the program with status 2. */
#define RT(call)                                                                                   \
    do {                                                                                           \
        cudaError_t rt_err = (call);                                                               \
        if (rt_err != cudaSuccess) {                                                               \
            std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                     \
                         cudaGetErrorName(rt_err));                                                \
            std::exit(2);                                                                          \
        }                                                                                          \
    } while (0)

/* The call must give this very code; a difference is counted. */
#define EXPECT_RT(want, call)                                                                      \
    do {                                                                                           \
        cudaError_t rt_err = (call);                                                               \
        if (rt_err != (want)) {                                                                    \
            std::fprintf(stderr, "%s:%d: %s: %s, expected %s\n", __FILE__, __LINE__, #call,        \
                         cudaGetErrorName(rt_err), #want);                                         \
            test_failures++;                                                                       \
        }                                                                                          \
    } while (0)

/* The condition must hold; a difference is counted. */
#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);         \
            test_failures++;                                                                       \
        }                                                                                          \
    } while (0)

static std::atomic<int> test_failures;

static inline int
test_result(const char *name)
{
    int n = test_failures;

    if (n == 0)
        std::printf("%s: passed\n", name);
    else
        std::printf("%s: %d checks failed\n", name, n);
    return n == 0 ? 0 : 1;
}

/* A launch of an impossible shape is refused; by which of the two codes the runtime leaves to the
 * driver. */
static inline bool
refused_shape(cudaError_t err)
{
    return err == cudaErrorInvalidConfiguration || err == cudaErrorInvalidValue;
}

/* One step of the generator that the kernels of several programs iterate. */
static inline __host__ __device__ uint32_t
lcg(uint32_t x)
{
    return x * 1664525u + 1013904223u;
}

static inline __host__ __device__ uint32_t
lcg_n(uint32_t x, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++)
        x = lcg(x);
    return x;
}

#endif
