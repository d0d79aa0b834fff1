"""JAX: operations of its own, and ten steps of training a transformer of two layers.

XLA writes PTX itself and lets the driver compile it where no ptxas knows the device.
"""
import os

os.environ.setdefault("XLA_FLAGS", "--xla_gpu_unsafe_fallback_to_driver_on_ptxas_not_found=true "
                                   "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false "
                                   "--xla_gpu_enable_command_buffer=")
import jax._src.hardware_utils  # noqa: E402

# JAX takes a machine without /dev/nvidiactl for one without GPUs.
jax._src.hardware_utils.has_visible_nvidia_gpu = lambda: True
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from steps import step  # noqa: E402

WIDTH, HEADS, LAYERS, WORDS, LENGTH, BATCH = 32, 4, 2, 50, 16, 4
CPU = jax.devices("cpu")[0]
jax.config.update("jax_default_matmul_precision", "highest")  # else TF32, which a CPU does not have


def near(a, b, most=1e-4):
    return bool(np.allclose(np.asarray(a), np.asarray(b), rtol=most, atol=most))


def on_both(function, *args):
    """Whether the GPU gives what the CPU does."""
    with jax.default_device(CPU):
        there = jax.jit(function)(*[jax.device_put(a, CPU) for a in args])
    return near(jax.jit(function)(*args), there)


def norm(x, p):
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * p["scale"] + p["shift"]


def attention(x, p):
    split = lambda w: (x @ w).reshape(BATCH, LENGTH, HEADS, -1).transpose(0, 2, 1, 3)  # noqa: E731
    q, k, v = split(p["q"]), split(p["k"]), split(p["v"])
    score = q @ k.transpose(0, 1, 3, 2) / np.sqrt(WIDTH // HEADS)
    score = jnp.where(np.tril(np.ones((LENGTH, LENGTH), bool)), score, -1e9)
    return (jax.nn.softmax(score) @ v).transpose(0, 2, 1, 3).reshape(BATCH, LENGTH, WIDTH) @ p["o"]


def loss(params, words):
    x = params["words"][words] + params["places"]
    for p in params["layers"]:
        x = x + attention(norm(x, p["norm1"]), p)
        x = x + jax.nn.gelu(norm(x, p["norm2"]) @ p["up"]) @ p["down"]
    logits = jax.nn.log_softmax(x @ params["words"].T)
    return -jnp.take_along_axis(logits[:, :-1], words[:, 1:, None], -1).mean()


def fresh():
    chance = np.random.default_rng(7)
    w = lambda *shape: (chance.standard_normal(shape) * 0.1).astype(np.float32)  # noqa: E731
    ones = lambda: {"scale": np.ones(WIDTH, np.float32), "shift": np.zeros(WIDTH, np.float32)}  # noqa: E731
    layer = lambda: dict({n: w(WIDTH, WIDTH) for n in "qkvo"}, up=w(WIDTH, 4 * WIDTH),  # noqa: E731
                         down=w(4 * WIDTH, WIDTH), norm1=ones(), norm2=ones())
    return {"words": w(WORDS, WIDTH), "places": w(LENGTH, WIDTH), "layers": [layer() for _ in range(LAYERS)]}


@jax.jit
def adam(params, m, v, t, words):
    value, grads = jax.value_and_grad(loss)(params, words)
    m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
    v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
    params = jax.tree.map(lambda p, a, b: p - 0.003 * (a / (1 - 0.9 ** t)) /
                          (jnp.sqrt(b / (1 - 0.999 ** t)) + 1e-8), params, m, v)
    return params, m, v, value


def train(device):
    with jax.default_device(device):
        params = jax.device_put(fresh(), device)
        m = v = jax.tree.map(jnp.zeros_like, params)
        words = jax.device_put(np.random.default_rng(3).integers(0, WORDS, (BATCH, LENGTH)), device)
        losses = []
        for t in range(1, 11):
            params, m, v, value = adam(params, m, v, float(t), words)
            losses.append(float(value))
    return losses


def main():
    gpu = jax.devices()[0]
    x = np.linspace(-3, 3, 4096, dtype=np.float32).reshape(64, 64)

    def both(name, function):
        step(name)(lambda: on_both(function, x))

    step("device")(lambda: (gpu.platform, gpu.device_kind))
    both("elementwise", lambda a: jnp.sin(a) * jnp.exp(a) + jnp.tanh(a))
    both("reductions", lambda a: jnp.stack([a.sum(), a.max(), a.var()]))
    both("softmax", jax.nn.softmax)
    both("sort", lambda a: jnp.sort(jnp.cos(a * 9), axis=1))
    both("gather and scatter", lambda a: a.at[::3].add(a[::-1][::3]))
    both("matrix product (cuBLAS)", lambda a: a @ a.T)
    both("loops on the device", lambda a: jax.lax.fori_loop(0, 10, lambda i, b: b * 0.9 + i, a))
    both("gradient", jax.grad(lambda a: (jnp.tanh(a) ** 2).sum()))

    @step("ten steps of a transformer of two layers: losses, and whether the CPU's are the same")
    def training():
        ours, theirs = train(gpu), train(CPU)
        return "%.2f to %.2f, %s" % (theirs[0], theirs[-1], near(ours, theirs, 1e-3))


main()
