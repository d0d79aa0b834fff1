"""PyTorch: a data loader whose workers are forked or spawned, into pinned memory.

usage: torch_loader.py fork|spawn
"""
import os
import sys
import warnings

warnings.simplefilter("ignore")
import torch  # noqa: E402
from steps import step  # noqa: E402

DEVICE = os.environ.get("GPUPOOL_TEST_DEVICE", "cuda")


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 256

    def __getitem__(self, i):
        return torch.full((1000,), float(i)), i


def main(how):
    @step("batches of two workers, %s" % how)
    def _():
        weight = torch.ones(1000, device=DEVICE)  # CUDA is there before the workers are
        loader = torch.utils.data.DataLoader(Numbers(), batch_size=32, num_workers=2, pin_memory=DEVICE == "cuda",
                                             multiprocessing_context=how)
        total, seen, pinned = 0.0, 0, True
        for _ in range(2):
            for x, i in loader:
                pinned = pinned and (DEVICE != "cuda" or x.is_pinned())
                y = x.to(DEVICE, non_blocking=True) @ weight
                total += float((y / 1000 - i.to(DEVICE, non_blocking=True)).abs().max())
                seen += len(i)
        return total, seen, pinned


if __name__ == "__main__":
    main(sys.argv[1])
