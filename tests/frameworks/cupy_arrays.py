"""CuPy: kernels by NVRTC as PTX (CUPY_COMPILE_WITH_PTX=1), and NVIDIA's libraries."""
import cupy as cp
import numpy as np
from steps import step

X = np.arange(20000, dtype=np.float32)
D = cp.asarray(X)


@step("device")
def _():
    return "%d device, capability %s" % (cp.cuda.runtime.getDeviceCount(), cp.cuda.Device().compute_capability)


@step("elementwise")
def _():
    return bool((cp.asnumpy(cp.sqrt(D) * 2 + 1) == np.sqrt(X) * 2 + 1).all())


@step("reductions")
def _():
    return float(D.sum()), float(D.max()), int(D.argmin()), float(D.reshape(200, 100).mean(axis=0)[3])


@step("indexing and where")
def _():
    return int(cp.where(D > 100)[0].size), float(D[D % 2 == 0][7]), float(D[[3, 1, 4]].sum())


@step("scan")
def _():
    return float(cp.cumsum(cp.ones(5000, dtype=cp.float32))[-1])


@step("sort")
def _():
    return bool((cp.sort(-D) == -D[::-1]).all())


@step("RawKernel")
def _():
    k = cp.RawKernel(r'''extern "C" __global__ void square(float *a, int n) {
        int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) a[i] *= a[i]; }''', "square")
    a = D.copy()
    k((157,), (128,), (a, np.int32(a.size)))
    return bool((cp.asnumpy(a) == X * X).all())


@step("ElementwiseKernel, ReductionKernel, fuse")
def _():
    e = cp.ElementwiseKernel("float32 x, float32 y", "float32 z", "z = x * y + 1", "mad")
    r = cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "l2")

    @cp.fuse()
    def f(a, b):
        return a * b + a
    return float(e(D, D)[2]), "%.6f" % float(r(cp.arange(10, dtype=cp.float64))), float(f(D, D)[5])


@step("matrix product (cuBLAS)")
def _():
    a = (cp.arange(64 * 64, dtype=cp.float32) % 7).reshape(64, 64)
    return bool((cp.asnumpy(a @ a.T) == cp.asnumpy(a) @ cp.asnumpy(a).T).all())


@step("FFT (cuFFT)")
def _():
    back = cp.fft.ifft(cp.fft.fft(D[:1024].astype(cp.complex64)))
    return bool(cp.abs(back.real - D[:1024]).max() < 1e-2)


@step("streams, events, pinned memory")
def _():
    stream, begin, end = cp.cuda.Stream(non_blocking=True), cp.cuda.Event(), cp.cuda.Event()
    with stream:
        begin.record()
        a = cp.asarray(X) + 1
        end.record()
    end.synchronize()
    return "%s, time %s" % (float(a[9]), cp.cuda.get_elapsed_time(begin, end) >= 0)


@step("graph of a captured stream")
def _():
    stream = cp.cuda.Stream(non_blocking=True)
    a = cp.zeros(1000, dtype=cp.float32)
    a += 0  # compiled before
    with stream:
        stream.begin_capture()
        a += 1
        a *= 2
        graph = stream.end_capture()
        graph.launch(stream)
        graph.launch(stream)
    stream.synchronize()
    return float(a[999])


@step("memory pool and managed memory")
def _():
    pool = cp.get_default_memory_pool()
    with cp.cuda.using_allocator(cp.cuda.malloc_managed):
        m = cp.arange(1000)
        s = int(m.sum())
    with cp.cuda.using_allocator(cp.cuda.MemoryAsyncPool().malloc):
        t = int(cp.arange(1000).sum())
    return s, t, pool.used_bytes() > 0
