"""NCCL on one rank: a communicator, and collectives whose results are known. NCCL_LIBRARY names the library."""
import ctypes as c
import os

from steps import step

os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
os.environ.setdefault("NCCL_DEBUG", "WARN")
FLOAT, SUM, MAX, N = 7, 0, 2, 1000
TO_DEVICE, TO_HOST = 1, 2
cudart = c.CDLL("libcudart.so.%s" % os.environ["NCCL_CUDART"])
nccl = c.CDLL(os.environ["NCCL_LIBRARY"])
nccl.ncclGetErrorString.restype = c.c_char_p


class Id(c.Structure):
    _fields_ = [("bytes", c.c_char * 128)]


def ok(result, what="CUDA"):
    if result != 0:
        raise RuntimeError("%s: %s" % (what, nccl.ncclGetErrorString(result).decode() if what == "NCCL" else result))


comm, source, target = c.c_void_p(), c.c_void_p(), c.c_void_p()
numbers = (c.c_float * N)(*range(N))


def collect(call, *arguments):
    """What is at target after call."""
    got = (c.c_float * N)()
    ok(cudart.cudaMemset(target, 0, c.c_size_t(4 * N)))
    ok(call(source, target, c.c_size_t(N), *arguments, comm, None), "NCCL")
    ok(cudart.cudaDeviceSynchronize())
    ok(cudart.cudaMemcpy(got, target, c.c_size_t(4 * N), TO_HOST))
    return list(got) == list(numbers)


@step("a communicator of one rank")
def _():
    version, unique = c.c_int(), Id()
    ok(cudart.cudaSetDevice(0))
    ok(cudart.cudaMalloc(c.byref(source), c.c_size_t(4 * N)))
    ok(cudart.cudaMalloc(c.byref(target), c.c_size_t(4 * N)))
    ok(cudart.cudaMemcpy(source, numbers, c.c_size_t(4 * N), TO_DEVICE))
    ok(nccl.ncclGetVersion(c.byref(version)), "NCCL")
    ok(nccl.ncclGetUniqueId(c.byref(unique)), "NCCL")
    nccl.ncclCommInitRank.argtypes = [c.POINTER(c.c_void_p), c.c_int, Id, c.c_int]
    ok(nccl.ncclCommInitRank(c.byref(comm), 1, unique, 0), "NCCL")
    return "NCCL %d" % version.value


@step("all-reduce")
def _():
    return collect(nccl.ncclAllReduce, FLOAT, SUM), collect(nccl.ncclAllReduce, FLOAT, MAX)


@step("broadcast, all-gather, reduce-scatter")
def _():
    return (collect(nccl.ncclBroadcast, FLOAT, 0), collect(nccl.ncclAllGather, FLOAT),
            collect(nccl.ncclReduceScatter, FLOAT, SUM))


@step("the communicator ends")
def _():
    ok(nccl.ncclCommDestroy(comm), "NCCL")
    return True
