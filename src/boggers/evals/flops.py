"""What a token costs: the floating-point operations of training, measured."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def flops_per_token(model: nn.Module, vocab_size: int, length: int) -> float:
    """Operations of one forward and backward pass over (1, T) tokens, divided by T.

    Counted are matrix products, convolutions and attention, two operations a multiply-add, by
    watching what a copy of the model really calls; attention is counted over all T × T pairs.
    Elementwise work (norms, activations, the scan of a recurrence) is not counted.

    Args:
        model: a contestant, unchanged.
        vocab_size: V.
        length: T.
    """
    twin = copy.deepcopy(model).to("cpu").train()
    tokens = torch.zeros(1, length, dtype=torch.int64)
    counter = FlopCounterMode(display=False)
    # Fused kernels hide their products from the counter: oneDNN's LSTM and the fast attention.
    with _without_onednn(), sdpa_kernel(SDPBackend.MATH), counter:
        logits = twin(tokens)
        F.cross_entropy(logits.view(-1, vocab_size), tokens.view(-1)).backward()  # type: ignore[no-untyped-call]
    return counter.get_total_flops() / length


@contextmanager
def _without_onednn() -> Iterator[None]:
    """oneDNN off; restoring its flags warns about hardware that is not asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
        with torch.backends.mkldnn.flags(enabled=False):
            yield
