"""pynvml: what tools ask before they begin; there is no NVML without the pool."""
import pynvml as n
from steps import step


@step("devices")
def _():
    n.nvmlInit()
    h = n.nvmlDeviceGetHandleByIndex(0)
    memory = n.nvmlDeviceGetMemoryInfo(h)
    return n.nvmlDeviceGetCount(), n.nvmlDeviceGetName(h), memory.used <= memory.total
