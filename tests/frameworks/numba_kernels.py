"""Numba: kernels written in Python, compiled to PTX, linked by the driver."""
import warnings

import numpy as np
from numba import cuda, float32, int32
from numba.cuda.random import create_xoroshiro128p_states, xoroshiro128p_uniform_float32
from steps import step

warnings.simplefilter("ignore")
N = 20000
X = np.arange(N, dtype=np.float32)


@step("device, context, memory info")
def _():
    free, total = cuda.current_context().get_memory_info()
    return "%s, free below total %s" % (cuda.get_current_device().compute_capability, free <= total)


@step("vector add")
def _():
    @cuda.jit
    def add(x, y, out):
        i = cuda.grid(1)
        if i < x.size:
            out[i] = x[i] + y[i]
    out = cuda.device_array(N, np.float32)
    add[(N + 127) // 128, 128](cuda.to_device(X), cuda.to_device(2 * X), out)
    return np.array_equal(out.copy_to_host(), 3 * X)


@step("reduction")
def _():
    total = cuda.reduce(lambda a, b: a + b)
    return float(total(X.astype(np.float64)))


@step("shared memory: matrix product by tiles")
def _():
    t = 16

    @cuda.jit
    def product(a, b, c):
        sa, sb = cuda.shared.array((t, t), float32), cuda.shared.array((t, t), float32)
        x, y = cuda.grid(2)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        s = float32(0.)
        for k in range(a.shape[1] // t):
            sa[tx, ty], sb[tx, ty] = a[x, ty + k * t], b[tx + k * t, y]
            cuda.syncthreads()
            for j in range(t):
                s += sa[tx, j] * sb[j, ty]
            cuda.syncthreads()
        c[x, y] = s
    a = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) % 7
    c = cuda.device_array((64, 64), np.float32)
    product[(4, 4), (t, t)](a, a.T.copy(), c)
    return np.array_equal(c.copy_to_host(), a @ a.T)


@step("atomics: histogram")
def _():
    @cuda.jit
    def histogram(x, bins):
        i = cuda.grid(1)
        if i < x.size:
            cuda.atomic.add(bins, x[i] % 10, 1)
    bins = cuda.to_device(np.zeros(10, np.int32))
    histogram[80, 256](np.arange(N, dtype=np.int32), bins)
    return bins.copy_to_host().tolist()


@step("cooperative grid")
def _():
    @cuda.jit
    def rows(m):
        col = cuda.grid(1)
        g = cuda.cg.this_grid()
        for row in range(1, m.shape[0]):
            opposite = m.shape[1] - col - 1
            if col < m.shape[1]:
                m[row, col] = m[row - 1, opposite] + 1
            g.sync()
    m = np.zeros((32, 256), dtype=np.int32)
    rows[8, 32](m)
    return np.array_equal(m, np.tile(np.arange(32, dtype=np.int32)[:, None], (1, 256)))


@step("shuffles in a warp")
def _():
    @cuda.jit
    def warp_sum(x, out):
        v = x[cuda.grid(1)]
        for d in (16, 8, 4, 2, 1):
            v += cuda.shfl_down_sync(0xffffffff, v, d)
        if cuda.laneid == 0:
            cuda.atomic.add(out, 0, v)
    out = cuda.to_device(np.zeros(1, np.int32))
    warp_sum[4, 128](np.arange(512, dtype=np.int32), out)
    return int(out.copy_to_host()[0])


@step("random numbers: pi within 2 %")
def _():
    @cuda.jit
    def throw(states, out):
        i = cuda.grid(1)
        hits = int32(0)
        for _ in range(200):
            x, y = xoroshiro128p_uniform_float32(states, i), xoroshiro128p_uniform_float32(states, i)
            if x * x + y * y <= 1.:
                hits += 1
        cuda.atomic.add(out, 0, hits)
    out = cuda.to_device(np.zeros(1, np.int32))
    throw[4, 128](create_xoroshiro128p_states(512, seed=1), out)
    hits = int(out.copy_to_host()[0])
    return "%d hits, %s" % (hits, abs(4 * hits / (512 * 200) - np.pi) < .06)


@step("streams, events, pinned memory")
def _():
    stream, begin, end = cuda.stream(), cuda.event(), cuda.event()
    host = cuda.pinned_array(N, np.float32)
    host[:] = X
    begin.record(stream)
    d = cuda.to_device(host, stream=stream)
    back = cuda.pinned_array(N, np.float32)
    d.copy_to_host(back, stream=stream)
    end.record(stream)
    end.synchronize()
    return "%s, time %s" % (np.array_equal(back, X), cuda.event_elapsed_time(begin, end) >= 0)


@step("ufunc")
def _():
    from numba import vectorize

    @vectorize(["float32(float32, float32)"], target="cuda")
    def scaled(a, b):
        return a * b + 1
    return bool(np.allclose(scaled(X, X), X * X + 1))
