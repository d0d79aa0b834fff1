/* tests/programs/cu/meet.cu -- warp functions in both ways of a branch, in a function that both
 * call, and in recursion: lanes meet wherever they stand */
#include "check.h"

#define FULL 0xffffffffu

static __device__ __noinline__ unsigned
pass_on(unsigned mask, unsigned v, unsigned from)
{
    return __shfl_sync(mask, v, from) + 1;
}

static __device__ __noinline__ unsigned
deep(unsigned n, unsigned v)
{
    if (n == 0)
        return __shfl_xor_sync(FULL, v, 1);
    return deep(n - 1, v + 100) * 3 + n;
}

/* Lanes come with different work behind them, and have different work before them. */
__global__ void
branches(unsigned *out)
{
    unsigned lane = threadIdx.x % 32, v = lane * lane, sum = 0;

    if (lane & 1) {
        for (unsigned i = 0; i < lane; i++)
            v = v * 5 + i;
        v = __shfl_sync(FULL, v, (lane + 3) % 32);
        sum = __ballot_sync(FULL, lane % 3 == 0) ^ 0xf0;
    } else {
        v = __shfl_sync(FULL, v + 7, (lane + 8) % 32) * 2;
        sum = __ballot_sync(FULL, lane % 4 == 0);
        if (lane & 2)
            sum += __match_any_sync(0xccccccccu & 0x55555555u, lane & 4);
    }
    out[threadIdx.x] = v * 31 + sum;
}

__global__ void
calls(unsigned *out)
{
    unsigned lane = threadIdx.x % 32, v;

    if (lane % 3 == 0)
        v = pass_on(FULL, lane * 10, (lane + 1) % 32) * 2;
    else if (lane % 3 == 1)
        v = pass_on(FULL, lane * 100, (lane + 2) % 32) * 3;
    else
        v = pass_on(FULL, lane * 1000, (lane + 3) % 32) * 5;
    if (lane >= 24) { /* nobody waits for who has gone */
        out[threadIdx.x] = v;
        return;
    }
    if (lane & 1)
        v += pass_on(FULL, v, lane - 1);
    else
        v += pass_on(FULL, v, lane + 1) * 2;
    out[threadIdx.x] = v;
}

__global__ void
recursion(unsigned *out)
{
    unsigned lane = threadIdx.x % 32;

    out[threadIdx.x] = deep(lane % 8, lane);
}

#define THREADS 128

static void
host_branches(unsigned *want)
{
    unsigned given[32], ballot = 0;

    for (unsigned i = 0; i < 32; i++) {
        given[i] = i * i;
        for (unsigned k = 0; i % 2 && k < i; k++)
            given[i] = given[i] * 5 + k;
        given[i] += i % 2 ? 0 : 7;
        ballot |= (i % 2 ? i % 3 == 0 : i % 4 == 0) ? 1u << i : 0;
    }
    for (unsigned i = 0; i < 32; i++) {
        unsigned v = i % 2 ? given[(i + 3) % 32] : given[(i + 8) % 32] * 2;
        unsigned sum = i % 2 ? ballot ^ 0xf0 : ballot;

        for (unsigned k = 2; i % 4 == 2 && k < 32; k += 4)
            sum += (k & 4) == (i & 4) ? 1u << k : 0;
        want[i] = v * 31 + sum;
    }
}

static void
host_calls(unsigned *want)
{
    static const unsigned given[3] = {10, 100, 1000}, by[3] = {2, 3, 5};
    unsigned v[32];

    for (unsigned i = 0; i < 32; i++) {
        unsigned from = (i + 1 + i % 3) % 32;

        v[i] = (from * given[from % 3] + 1) * by[i % 3];
    }
    for (unsigned i = 0; i < 32; i++)
        want[i] = i >= 24 ? v[i] : i % 2 ? v[i] + v[i - 1] + 1 : v[i] + (v[i + 1] + 1) * 2;
}

static void
host_recursion(unsigned *want)
{
    for (unsigned i = 0; i < 32; i++) {
        want[i] = (i ^ 1) + 100 * ((i ^ 1) % 8);
        for (unsigned n = 1; n <= i % 8; n++)
            want[i] = want[i] * 3 + n;
    }
}

static void
compare(const char *name, void (*kernel)(unsigned *), void (*host)(unsigned *))
{
    unsigned *out, got[THREADS], want[32];

    RT(cudaMalloc(&out, sizeof(got)));
    kernel<<<1, THREADS>>>(out);
    RT(cudaGetLastError());
    RT(cudaMemcpy(got, out, sizeof(got), cudaMemcpyDeviceToHost));
    host(want);
    for (unsigned i = 0; i < THREADS; i++)
        EXPECT(got[i] == want[i % 32]);
    std::printf("%s: %08x %08x\n", name, got[0], got[THREADS - 1]);
    RT(cudaFree(out));
}

int
main()
{
    compare("branches", branches, host_branches);
    compare("calls", calls, host_calls);
    compare("recursion", recursion, host_recursion);
    return test_result("meet");
}
