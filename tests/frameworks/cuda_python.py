"""cuda-python: the bindings, and cuda.core on them."""
import numpy as np
from cuda.bindings import driver, nvrtc
from steps import step

CODE = rb'''extern "C" __global__ void saxpy(float a, const float *x, float *y, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) y[i] = a * x[i] + y[i]; }'''
N = 5000
X = np.arange(N, dtype=np.float32)


def ok(result):
    if int(result[0]) != 0:
        raise RuntimeError(str(result[0]))
    return result[1] if len(result) == 2 else result[1:]


def ptx():
    program = ok(nvrtc.nvrtcCreateProgram(CODE, b"saxpy.cu", 0, None, None))
    ok(nvrtc.nvrtcCompileProgram(program, 1, [b"--gpu-architecture=compute_80"]))
    text = b" " * ok(nvrtc.nvrtcGetPTXSize(program))
    ok(nvrtc.nvrtcGetPTX(program, text))
    return text


@step("driver: device and context")
def _():
    ok(driver.cuInit(0))
    ok(driver.cuCtxSetCurrent(ok(driver.cuDevicePrimaryCtxRetain(ok(driver.cuDeviceGet(0))))))
    return int(ok(driver.cuDriverGetVersion())), ok(driver.cuDeviceGetCount())


@step("driver: NVRTC, module, launch")
def _():
    f = ok(driver.cuModuleGetFunction(ok(driver.cuModuleLoadData(np.char.array(ptx()))), b"saxpy"))
    x, y = ok(driver.cuMemAlloc(4 * N)), ok(driver.cuMemAlloc(4 * N))
    back = np.zeros(N, np.float32)
    ok(driver.cuMemcpyHtoD(x, X, 4 * N))
    ok(driver.cuMemcpyHtoD(y, X, 4 * N))
    values = [np.array([2], np.float32), np.array([int(x)], np.uint64), np.array([int(y)], np.uint64),
              np.array([N], np.uint32)]
    args = np.array([v.ctypes.data for v in values], np.uint64)
    ok(driver.cuLaunchKernel(f, 40, 1, 1, 128, 1, 1, 0, 0, args.ctypes.data, 0))
    ok(driver.cuMemcpyDtoH(back, y, 4 * N))
    return bool((back == 3 * X).all())


@step("driver: errors")
def _():
    return [str(r).split(".")[-1] for r in (driver.cuMemAlloc(0)[0], driver.cuMemFree(16)[0], driver.cuDeviceGet(99)[0])]


@step("core: device, stream, memory, launch")
def _():
    from cuda.core import Device, LaunchConfig, ObjectCode, launch
    dev = Device(0)
    dev.set_current()
    stream = dev.create_stream()
    kernel = ObjectCode.from_ptx(ptx()).get_kernel("saxpy")
    x, y = dev.allocate(4 * N, stream=stream), dev.allocate(4 * N, stream=stream)
    back = np.zeros(N, np.float32)
    ok(driver.cuMemcpyHtoDAsync(int(x.handle), X, 4 * N, stream.handle))
    ok(driver.cuMemcpyHtoDAsync(int(y.handle), X, 4 * N, stream.handle))
    launch(stream, LaunchConfig(grid=40, block=128), kernel, np.float32(5), x, y, np.uint32(N))
    ok(driver.cuMemcpyDtoHAsync(back, int(y.handle), 4 * N, stream.handle))
    stream.sync()
    return bool((back == 6 * X).all())


@step("core: events")
def _():
    from cuda.core import Device
    stream = Device(0).create_stream()
    event = stream.record()
    event.sync()
    return event.is_done
