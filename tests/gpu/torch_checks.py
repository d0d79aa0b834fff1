"""PyTorch against its own CPU: tensors, matrix products, autograd, convolution, FFT, graphs, memory.

usage: torch_checks.py [compile]     compile: torch.compile only

A result is what both ways must agree on: whether it is the CPU's, or numbers. GPUPOOL_TEST_DEVICE=cpu
tries the program itself.
"""
import os
import sys
import warnings

warnings.simplefilter("ignore")
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from steps import step  # noqa: E402

DEVICE = os.environ.get("GPUPOOL_TEST_DEVICE", "cuda")
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def data(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def as_cpu(function, *args, most=1e-3):
    """Whether the device gives what the CPU does."""
    return bool(torch.allclose(function(*[a.to(DEVICE) for a in args]).cpu(), function(*args), rtol=most, atol=most))


def tensors():
    @step("elementwise")
    def _():
        return as_cpu(lambda a, b: torch.where(a > 0, (a * b).exp().clamp(max=9), b.sin()), data(300, 70), data(300, 70))

    @step("reductions")
    def _():
        return as_cpu(lambda a: torch.stack([a.sum(), a.mean(), a.amax(), a.std(), a.norm()]), data(999, 33))

    @step("indexing, gather, scatter, sort, unique")
    def _():
        a, at = data(200, 50), torch.arange(200) * 7 % 200
        return (as_cpu(lambda x, i: x[i][:, ::3], a, at), as_cpu(lambda x: x.sort(dim=1).values, a),
                as_cpu(lambda x, i: torch.zeros_like(x[:, 0]).scatter_add(0, i % 17, x[:, 0]), a, at),
                int((at.to(DEVICE) % 17).unique().numel()))

    @step("softmax, layer norm, embedding")
    def _():
        return (as_cpu(lambda x: x.softmax(-1), data(64, 500)), as_cpu(lambda x: F.layer_norm(x, x.shape[1:]), data(64, 500)),
                as_cpu(lambda w: F.embedding(torch.arange(40, device=w.device) % 11, w), data(11, 32)))

    @step("matrix products in float, half and batches")
    def _():
        a, b = data(256, 300), data(300, 128)
        return (as_cpu(torch.matmul, a, b), as_cpu(lambda x, y: (x.half() @ y.half()).float(), a, b, most=0.2),
                as_cpu(torch.bmm, data(7, 33, 21), data(7, 21, 40)))

    @step("convolution, forward and back")
    def _():
        def run(x, w):
            w = w.detach().requires_grad_()
            F.conv2d(x, w, padding=1, stride=2).square().mean().backward()
            return w.grad
        return as_cpu(run, data(4, 8, 33, 33), data(16, 8, 3, 3))

    @step("FFT")
    def _():
        return as_cpu(lambda x: torch.view_as_real(torch.fft.rfft2(x)), data(5, 64, 48)), \
            as_cpu(lambda x: torch.fft.ifft(torch.fft.fft(x)).real, data(1000))

    @step("linear algebra")
    def _():
        a = data(40, 40)
        return as_cpu(lambda x: torch.linalg.solve(x @ x.T + 40 * torch.eye(40, device=x.device), x), a)

    @step("autograd through a network")
    def _():
        torch.manual_seed(1)
        net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.GELU(), torch.nn.LayerNorm(64), torch.nn.Linear(64, 3))
        x, y = data(50, 20), torch.arange(50) % 3
        F.cross_entropy(net(x), y).backward()
        there = [p.grad.clone() for p in net.parameters()]
        net.zero_grad()
        net.to(DEVICE)
        F.cross_entropy(net(x.to(DEVICE)), y.to(DEVICE)).backward()
        return all(bool(torch.allclose(p.grad.cpu(), g, rtol=1e-3, atol=1e-4)) for p, g in zip(net.parameters(), there))

    @step("random numbers of a seed")
    def _():
        torch.manual_seed(11)
        return [round(v, 5) for v in torch.rand(4, device=DEVICE).tolist()]


def of_cuda():
    @step("streams, events, pinned memory")
    def _():
        stream, begin, end = torch.cuda.Stream(), torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        host = data(1 << 20).pin_memory()
        back = torch.empty_like(host).pin_memory()
        with torch.cuda.stream(stream):
            begin.record()
            there = host.to("cuda", non_blocking=True) * 2
            back.copy_(there, non_blocking=True)
            end.record()
        end.synchronize()
        return bool((back == host * 2).all()), begin.elapsed_time(end) > 0

    @step("a graph, replayed on new data")
    def _():
        x, w = data(64, 64).cuda(), data(64, 64).cuda()
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            (x @ w).relu()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = (x @ w).relu().sum(0)
        good = []
        for i in range(3):
            x.copy_(data(64, 64 + i)[:, :64])
            graph.replay()
            good.append(bool(torch.allclose(y.cpu(), (x.cpu() @ w.cpu()).relu().sum(0), rtol=1e-3, atol=1e-3)))
        return good

    @step("memory statistics")
    def _():
        before = torch.cuda.memory_stats()
        keep = torch.empty(3 << 20, dtype=torch.uint8, device="cuda")
        after = torch.cuda.memory_stats()
        name = "allocated_bytes.all.current"
        return after[name] - before[name], after["num_ooms"], keep.numel()

    @step("out of memory, and going on")
    def _():
        try:
            torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
            return "it was given"
        except torch.OutOfMemoryError:
            return float(torch.ones(8, device="cuda").sum())

    @step("saving and loading")
    def _():
        import io
        file, a = io.BytesIO(), data(100)
        torch.save(a.cuda(), file)
        file.seek(0)
        return bool((torch.load(file, map_location="cuda").cpu() == a).all())


def compiled():
    @step("torch.compile, forward and back")
    def _():
        def run(x, w):
            return (F.gelu(x @ w) * x.mean(-1, keepdim=True)).softmax(-1)
        fast, x = torch.compile(run), data(64, 128).to(DEVICE)
        w = data(128, 96).to(DEVICE).requires_grad_()
        run(x, w).square().sum().backward()
        want, w.grad = w.grad, None
        fast(x, w).square().sum().backward()
        return bool(torch.allclose(w.grad, want, rtol=1e-3, atol=1e-4))


if sys.argv[1:] == ["compile"]:
    compiled()
else:
    tensors()
    if DEVICE == "cuda":
        of_cuda()
