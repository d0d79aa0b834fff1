"""transformers: a model with random weights generates words; the other way must give the same."""
import os
import warnings

warnings.simplefilter("ignore")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import torch  # noqa: E402
from steps import step  # noqa: E402

DEVICE = os.environ.get("GPUPOOL_TEST_DEVICE", "cuda")
torch.backends.cuda.matmul.allow_tf32 = False


@step("24 words of a GPT-2 with random weights")
def _():
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        return "transformers is not installed"
    torch.manual_seed(5)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=500, n_positions=64, n_embd=128, n_layer=3, n_head=4,
                                       bos_token_id=0, eos_token_id=499,
                                       tie_word_embeddings=False)).to(DEVICE).eval()
    words = torch.tensor([[1, 2, 3, 4], [9, 8, 7, 6]], device=DEVICE)
    with torch.no_grad():
        made = model.generate(words, max_new_tokens=24, do_sample=False, pad_token_id=0,
                              attention_mask=torch.ones_like(words))
    return made.tolist()
