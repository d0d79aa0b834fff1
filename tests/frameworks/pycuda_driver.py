"""PyCUDA: memory, streams, events, modules; its SourceModule compiles to machine code."""
import numpy as np
import pycuda.autoinit  # noqa: F401
import pycuda.driver as drv
from steps import step

PTX = b'''.version 7.0
.target sm_70
.address_size 64
.visible .entry twice(.param .u64 p, .param .u32 n)
{ .reg .pred %q; .reg .b32 %r<6>; .reg .f32 %f<3>; .reg .b64 %d<4>;
 ld.param.u64 %d1, [p]; ld.param.u32 %r1, [n];
 mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;
 mad.lo.s32 %r5, %r2, %r3, %r4; setp.ge.u32 %q, %r5, %r1; @%q bra END;
 mul.wide.u32 %d2, %r5, 4; add.s64 %d3, %d1, %d2;
 ld.global.f32 %f1, [%d3]; add.f32 %f2, %f1, %f1; st.global.f32 [%d3], %f2;
END: ret; }
'''
N = 5000
X = np.arange(N, dtype=np.float32)


@step("device")
def _():
    return drv.Device.count(), drv.Device(0).compute_capability(), drv.mem_get_info()[0] > 0


@step("module and launch")
def _():
    f = drv.module_from_buffer(PTX).get_function("twice")
    a = X.copy()
    f(drv.InOut(a), np.uint32(N), block=(128, 1, 1), grid=(40, 1))
    return bool((a == 2 * X).all()), f.num_regs > 0


@step("streams, events, pinned memory")
def _():
    stream, begin, end = drv.Stream(), drv.Event(), drv.Event()
    host, back = drv.pagelocked_empty(N, np.float32), drv.pagelocked_empty(N, np.float32)
    host[:] = X
    d = drv.mem_alloc(4 * N)
    begin.record(stream)
    drv.memcpy_htod_async(d, host, stream)
    drv.memcpy_dtoh_async(back, d, stream)
    end.record(stream)
    end.synchronize()
    return bool((back == X).all()), begin.time_till(end) >= 0


@step("managed memory")
def _():
    m = drv.managed_empty(N, np.float32, mem_flags=drv.mem_attach_flags.GLOBAL)
    m[:] = X
    drv.module_from_buffer(PTX).get_function("twice")(m, np.uint32(N), block=(128, 1, 1), grid=(40, 1))
    drv.Context.synchronize()
    return bool((m == 2 * X).all())


@step("arrays")
def _():
    import pycuda.gpuarray as gpuarray
    return float(gpuarray.to_gpu(X).get()[7])
