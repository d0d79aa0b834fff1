"""PyTorch: training of a transformer of two layers, and its losses.

usage: torch_train.py STEPS

The losses must be those of the other way; the last is to be below the first. GPUPOOL_TEST_DEVICE=cpu
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
STEPS = int(sys.argv[1])
WIDTH, HEADS, LAYERS, WORDS, LENGTH, BATCH = 128, 4, 2, 200, 32, 16
torch.backends.cuda.matmul.allow_tf32 = False


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = torch.nn.Embedding(WORDS, WIDTH), torch.nn.Embedding(LENGTH, WIDTH)
        layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.body = torch.nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, x):
        mask = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        h = self.words(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.body(h, mask=mask, is_causal=True) @ self.words.weight.T / WIDTH ** 0.5


@step("loss curve")
def _():
    torch.manual_seed(3)
    model = Model()
    text = (torch.arange(BATCH * (LENGTH + 1)).reshape(BATCH, -1) * 7 + torch.arange(BATCH)[:, None] * 13) % WORDS
    model, text = model.to(DEVICE), text.to(DEVICE)
    adam = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(STEPS):
        adam.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        losses.append(loss.detach())
    losses = [round(v, 5) for v in torch.stack(losses).tolist()]
    if not losses[-1] < losses[0]:
        raise RuntimeError("it learns nothing: %s" % losses)
    return losses
