"""Well-known models as contestants: a Llama, an LSTM, a Mamba, each with a tied table."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from boggers.errors import UserError
from boggers.evals.contest import Budget

HEAD_WIDTH = 32
TABLE_SCALE = 0.02
"""Standard deviation of a fresh embedding table, as in the transformers that tie theirs."""


class Llama(nn.Module):
    """The transformer of Touvron et al. (2023): RoPE, SwiGLU, RMSNorm, no bias, heads of 32.

    Args:
        budget: its width is the model's; the inner width of the SwiGLU fills the budget.
        generator: draws the weights.

    Raises:
        UserError: transformers is not installed, or the budget is too small.
    """

    def __init__(self, budget: Budget, generator: torch.Generator) -> None:
        super().__init__()
        library = _transformers("llama")
        width, layers = budget.width, budget.layers
        inner = budget.fill(
            lambda n: layers * (4 * width**2 + 3 * width * n + 2 * width) + width, multiple=8
        )
        config = library.LlamaConfig(
            vocab_size=budget.vocab_size,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=width // HEAD_WIDTH,
            max_position_embeddings=budget.sequence_length,
            attn_implementation="sdpa",
            use_cache=False,
        )
        with _drawn_from(generator):
            self.body: Any = library.LlamaModel(config)
        self.embedding = nn.Parameter(self.body.embed_tokens.weight.detach().clone())
        del self.body.embed_tokens
        if budget.init == "zero-out":
            for layer in self.body.layers:
                nn.init.zeros_(layer.self_attn.o_proj.weight)
                nn.init.zeros_(layer.mlp.down_proj.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each of the tokens (B, T)."""
        states = self.body(inputs_embeds=F.embedding(tokens, self.embedding)).last_hidden_state
        return F.linear(states, self.embedding)


class LSTM(nn.Module):
    """Two layers of long short-term memory (Hochreiter & Schmidhuber 1997), and a way out.

    logits = (W h + b) Eᵀ: a linear map brings the states to the width of the table. The gates that
    forget start open (Jozefowicz et al. 2015).

    Args:
        budget: its width is the table's; that of the states fills the budget.
        generator: draws the weights.

    Raises:
        UserError: the budget is too small.
    """

    LAYERS = 2

    def __init__(self, budget: Budget, generator: torch.Generator) -> None:
        super().__init__()
        width = budget.width
        inner = budget.fill(
            lambda n: 12 * n**2 + 4 * width * n + 16 * n + (n + 1) * width, multiple=2
        )
        with _drawn_from(generator):
            self.embedding = nn.Parameter(torch.empty(budget.vocab_size, width))
            # Merity et al. (2018) start a tied table so; states have no norm that would scale it.
            nn.init.uniform_(self.embedding, -0.1, 0.1)
            self.body = nn.LSTM(width, inner, self.LAYERS, batch_first=True)
            self.out = nn.Linear(inner, width)
        for layer in range(self.LAYERS):
            bias = getattr(self.body, f"bias_ih_l{layer}")
            nn.init.ones_(bias.data[inner : 2 * inner])

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each of the tokens (B, T)."""
        with _without_onednn() if _halves(tokens) else nullcontext():
            states, _ = self.body(F.embedding(tokens, self.embedding))
        return F.linear(self.out(states), self.embedding)


def _halves(tokens: Tensor) -> bool:
    """Whether products on a processor are to be taken in bfloat16."""
    return tokens.device.type == "cpu" and torch.is_autocast_enabled("cpu")


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Ask torch itself: oneDNN, which it asks first, refuses a bfloat16 LSTM on many processors."""
    change = torch.backends.mkldnn.set_flags
    before = change(_enabled=False, _fp32_precision=None)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        change(_enabled=before[0], _fp32_precision=None)  # type: ignore[no-untyped-call]


class Mamba(nn.Module):
    """The selective state space model of Gu & Dao (2023); slow, as it runs without its own kernels.

    Args:
        budget: its width is the model's; the inner width of the blocks fills the budget.
        generator: draws the weights.

    Raises:
        UserError: transformers is not installed, or the budget is too small.
    """

    STATE, KERNEL = 16, 4

    def __init__(self, budget: Budget, generator: torch.Generator) -> None:
        super().__init__()
        library = _transformers("mamba")
        width, layers = budget.width, budget.layers
        rank = -(-width // 16)
        # Of one inner number: in, out; convolution and its bias; step, B and C; A; two vectors.
        each = 3 * width + self.KERNEL + 1 + 2 * rank + 2 * self.STATE + self.STATE + 2
        inner = budget.fill(lambda n: layers * (each * n + width) + width, multiple=8)
        config = library.MambaConfig(
            vocab_size=budget.vocab_size,
            hidden_size=width,
            num_hidden_layers=layers,
            state_size=self.STATE,
            conv_kernel=self.KERNEL,
            time_step_rank=rank,
            initializer_range=TABLE_SCALE,
            use_cache=False,
            # All positions at once; else transformers takes one after the other.
            use_mambapy=importlib.util.find_spec("mambapy") is not None,
        )
        config.intermediate_size = inner
        with _drawn_from(generator):
            self.body: Any = library.MambaModel(config)
        self.embedding = nn.Parameter(self.body.embeddings.weight.detach().clone())
        del self.body.embeddings
        for layer in self.body.layers:
            # The decay rates stand in a table, but no matrix maps states by it: kept as a vector,
            # neither Muon nor weight decay touches it.
            parametrize.register_parametrization(layer.mixer, "A_log", _Table(inner, self.STATE))
            if budget.init == "zero-out":
                nn.init.zeros_(layer.mixer.out_proj.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each of the tokens (B, T)."""
        states = self.body(inputs_embeds=F.embedding(tokens, self.embedding)).last_hidden_state
        return F.linear(states, self.embedding)


class _Table(nn.Module):
    """A vector of rows · columns numbers, seen as a table."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.shape = (rows, columns)

    def forward(self, vector: Tensor) -> Tensor:
        return vector.view(self.shape)

    def right_inverse(self, table: Tensor) -> Tensor:
        return table.flatten()


@contextmanager
def _drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Let libraries that draw from torch's global generator draw from this one."""
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _transformers(name: str) -> Any:
    if importlib.util.find_spec("transformers") is None:
        raise UserError(
            f"The contestant {name} needs transformers. "
            "Install it with: pip install 'boggers[bench]'"
        )
    # It is said in the documentation that mamba is slow without its kernels.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return importlib.import_module("transformers")
