"""Taichi: kernels as PTX through its own LLVM."""
import numpy as np
import taichi as ti
from steps import step

ti.init(arch=ti.cuda, log_level=ti.ERROR, offline_cache=False, random_seed=1)
N = 4096
f = ti.field(ti.f32, N)
m = ti.Matrix.field(2, 2, ti.f32, 64)


@ti.kernel
def fill():
    for i in f:
        f[i] = i * 2.0


@ti.kernel
def total() -> ti.f32:
    s = 0.0
    for i in f:
        s += f[i]
    return s


@ti.kernel
def matrices() -> ti.f32:
    s = 0.0
    for i in m:
        m[i] = ti.Matrix([[1.0, i], [0.0, 1.0]])
        p = m[i] @ m[i]
        s += p[0, 1]
    return s


@ti.kernel
def outer(a: ti.types.ndarray()):
    for i, j in a:
        a[i, j] = i * j


@step("backend")
def _():
    return str(ti.cfg.arch)


@step("fields")
def _():
    fill()
    return bool((f.to_numpy() == np.arange(N, dtype=np.float32) * 2).all())


@step("atomic sum")
def _():
    return total()


@step("matrices")
def _():
    return matrices()


@step("arrays of the program")
def _():
    a = np.zeros((40, 30), np.int32)
    outer(a)
    return bool((a == np.outer(np.arange(40), np.arange(30))).all())
