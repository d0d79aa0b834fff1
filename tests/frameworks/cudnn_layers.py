"""cuDNN by its C interface: activation, softmax, pooling, sums, normalisation and convolution.

The library is a wheel's. What it has no code for on the device (it is machine code for the most part) it says
itself; that is the result then.
"""
import ctypes as c
import glob
import os

import numpy as np
from steps import step

NCHW, FLOAT, NO_NAN = 0, 0, 0
SHAPE = (2, 4, 8, 8)


def library(pattern):
    import nvidia
    for root in nvidia.__path__:
        for path in sorted(glob.glob(os.path.join(root, pattern))):
            return c.CDLL(path, mode=c.RTLD_GLOBAL)
    raise RuntimeError("no " + pattern)


runtime = library("c*/lib/libcudart.so.1*")
dnn = library("cudnn/lib/libcudnn.so.9")
dnn.cudnnGetErrorString.restype = c.c_char_p
ONE, ZERO = c.c_float(1), c.c_float(0)


class Refused(Exception):
    pass


def cu(status):
    if status != 0:
        raise RuntimeError("CUDA error %d" % status)


def do(status):
    if status != 0:
        raise Refused(dnn.cudnnGetErrorString(status).decode())


class Memory:
    """An array on the device."""

    def __init__(self, values):
        self.values, self.at = np.ascontiguousarray(values, np.float32), c.c_void_p()
        cu(runtime.cudaMalloc(c.byref(self.at), c.c_size_t(self.values.nbytes)))
        cu(runtime.cudaMemcpy(self.at, self.values.ctypes.data_as(c.c_void_p), c.c_size_t(self.values.nbytes), 1))

    def get(self):
        out = np.empty_like(self.values)
        cu(runtime.cudaMemcpy(out.ctypes.data_as(c.c_void_p), self.at, c.c_size_t(out.nbytes), 2))
        return out


def described(kind, *arguments):
    thing = c.c_void_p()
    create, put = kind
    do(getattr(dnn, create)(c.byref(thing)))
    do(getattr(dnn, put)(thing, *arguments))
    return thing


def tensor(shape):
    return described(("cudnnCreateTensorDescriptor", "cudnnSetTensor4dDescriptor"), NCHW, FLOAT, *shape)


def data(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def layer(name):
    """A step whose refusal by cuDNN is its result."""
    def wrap(fn):
        @step(name)
        def _():
            try:
                return bool(np.allclose(*fn(), rtol=1e-4, atol=1e-4))
            except Refused as e:
                return str(e)
        return fn
    return wrap


handle = c.c_void_p()


@step("handle and version")
def _():
    do(dnn.cudnnCreate(c.byref(handle)))
    return dnn.cudnnGetVersion() // 10000


@layer("activation")
def _():
    x = Memory(data(*SHAPE))
    y = Memory(np.zeros(SHAPE))
    tanh = described(("cudnnCreateActivationDescriptor", "cudnnSetActivationDescriptor"), 2, NO_NAN, c.c_double(0))
    t = tensor(SHAPE)
    do(dnn.cudnnActivationForward(handle, tanh, c.byref(ONE), t, x.at, c.byref(ZERO), t, y.at))
    return y.get(), np.tanh(x.values)


@layer("softmax")
def _():
    x, y, t = Memory(data(*SHAPE)), Memory(np.zeros(SHAPE)), tensor(SHAPE)
    do(dnn.cudnnSoftmaxForward(handle, 1, 1, c.byref(ONE), t, x.at, c.byref(ZERO), t, y.at))
    e = np.exp(x.values)
    return y.get(), e / e.sum(1, keepdims=True)


@layer("pooling")
def _():
    half = (2, 4, 4, 4)
    x, y = Memory(data(*SHAPE)), Memory(np.zeros(half))
    pool = described(("cudnnCreatePoolingDescriptor", "cudnnSetPooling2dDescriptor"), 0, NO_NAN, 2, 2, 0, 0, 2, 2)
    do(dnn.cudnnPoolingForward(handle, pool, c.byref(ONE), tensor(SHAPE), x.at, c.byref(ZERO), tensor(half), y.at))
    return y.get(), x.values.reshape(2, 4, 4, 2, 4, 2).max((3, 5))


@layer("sum of two tensors")
def _():
    x, y, t = Memory(data(*SHAPE)), Memory(data(1, 4, 1, 1)), tensor(SHAPE)
    do(dnn.cudnnAddTensor(handle, c.byref(ONE), tensor((1, 4, 1, 1)), y.at, c.byref(ONE), t, x.at))
    return x.get(), x.values + y.values


@layer("batch normalisation")
def _():
    x, y, t = Memory(data(*SHAPE)), Memory(np.zeros(SHAPE)), tensor(SHAPE)
    of = [Memory(v) for v in (data(1, 4, 1, 1), data(1, 4, 1, 1), data(1, 4, 1, 1), np.abs(data(1, 4, 1, 1)) + 1)]
    do(dnn.cudnnBatchNormalizationForwardInference(
        handle, 1, c.byref(ONE), c.byref(ZERO), t, x.at, t, y.at, tensor((1, 4, 1, 1)), *[m.at for m in of],
        c.c_double(1e-5)))
    scale, shift, mean, var = (m.values for m in of)
    return y.get(), (x.values - mean) / np.sqrt(var + 1e-5) * scale + shift


@layer("convolution")
def _():
    x, w, y = Memory(data(*SHAPE)), Memory(data(3, 4, 3, 3)), Memory(np.zeros((2, 3, 6, 6)))
    kernel = described(("cudnnCreateFilterDescriptor", "cudnnSetFilter4dDescriptor"), FLOAT, NCHW, 3, 4, 3, 3)
    how = described(("cudnnCreateConvolutionDescriptor", "cudnnSetConvolution2dDescriptor"), 0, 0, 1, 1, 1, 1, 1, FLOAT)
    do(dnn.cudnnConvolutionForward(handle, c.byref(ONE), tensor(SHAPE), x.at, kernel, w.at, how, 0, None,
                                   c.c_size_t(0), c.byref(ZERO), tensor((2, 3, 6, 6)), y.at))
    windows = np.lib.stride_tricks.sliding_window_view(x.values, (3, 3), (2, 3))
    return y.get(), np.einsum("nchwij,kcij->nkhw", windows, w.values)


@step("end")
def _():
    do(dnn.cudnnDestroy(handle))
    return True
