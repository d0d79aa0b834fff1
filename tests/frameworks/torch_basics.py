"""PyTorch: what needs no kernel of its own. Its kernels are shipped as machine code only."""
import warnings

warnings.simplefilter("ignore")
import torch  # noqa: E402
from steps import step  # noqa: E402

H = torch.arange(10000, dtype=torch.float32)


@step("available, device, capability")
def _():
    return torch.cuda.is_available(), torch.cuda.device_count(), torch.cuda.get_device_capability(0)


@step("allocation and copies")
def _():
    d = torch.empty(10000, device="cuda")
    d.copy_(H)
    return bool((d.cpu() == H).all()), bool((d[100:200].cpu() == H[100:200]).all())


@step("strided copy out")
def _():
    return bool((H.cuda().reshape(100, 100)[:, 3].contiguous().cpu() == H.reshape(100, 100)[:, 3]).all())


@step("zeros (memset)")
def _():
    d = torch.zeros(1000, dtype=torch.uint8, device="cuda")
    return int(d.cpu().sum())


@step("streams, events, pinned memory")
def _():
    stream, begin, end = torch.cuda.Stream(), torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    pinned = H.pin_memory()
    with torch.cuda.stream(stream):
        begin.record()
        d = torch.empty(10000, device="cuda")
        d.copy_(pinned, non_blocking=True)
        end.record()
    end.synchronize()
    return bool((d.cpu() == H).all()), begin.elapsed_time(end) >= 0


@step("graph of copies")
def _():
    a, b = torch.empty(1000, device="cuda"), torch.empty(1000, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        b.copy_(a)
    a.copy_(H[:1000])
    graph.replay()
    torch.cuda.synchronize()
    return bool((b.cpu() == H[:1000]).all())


@step("memory statistics")
def _():
    before = torch.cuda.memory_allocated()
    keep = torch.empty(1 << 20, device="cuda")
    return torch.cuda.memory_allocated() - before, keep.numel(), torch.cuda.memory_stats()["num_ooms"]


@step("out of memory")
def _():
    try:
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    except torch.OutOfMemoryError:
        return "raised"


@step("saving and loading")
def _():
    import io
    file = io.BytesIO()
    torch.save(H.cuda(), file)
    file.seek(0)
    return bool((torch.load(file, map_location="cuda").cpu() == H).all())


@step("matmul through cuBLAS")
def _():
    a = (H[:4096] % 7).reshape(64, 64)
    return bool((torch.mm(a.cuda(), a.cuda()).cpu() == a @ a).all())


@step("elementwise kernel")
def _():
    return bool(((H.cuda() + 1).cpu() == H + 1).all())
