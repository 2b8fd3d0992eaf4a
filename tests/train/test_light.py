"""The optimisers are torch's, and a run loads no compiler."""

import subprocess
import sys
from pathlib import Path

import torch

from boggers.train.light import AdamW

FEW_STEPS = """
import sys
from boggers.cli.configuration import read_configuration
from boggers.train.loop import fit
from boggers.train.prepare import prepare
prepared = prepare(read_configuration(sys.argv[1:]))
assert fit(prepared, validate=prepared.validate).step == 2
print(*(m for m in ("torch._dynamo", "torch.distributed.tensor", "sympy") if m in sys.modules))
"""


def test_a_run_loads_no_compiler(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat eats fish and the dog sleeps. " * 500, encoding="utf-8")
    options = ["window", "--corpus", str(corpus), "--tokenizer", "byte", "--max-steps", "2"]
    options += ["--optimizer", "muon", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", FEW_STEPS, *options], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ""


def test_it_moves_weights_as_torch_does() -> None:
    ends = []
    for kind in (AdamW, torch.optim.AdamW):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 12))
        optimizer = kind([weight], lr=0.1, weight_decay=0.1, fused=True)
        for step in range(3):
            optimizer.zero_grad(set_to_none=True)
            (weight - step).square().sum().backward()
            optimizer.step()
        saved = optimizer.state_dict()
        optimizer.load_state_dict(saved)
        assert not weight.grad_fn
        ends.append(weight.detach().clone())
    assert torch.equal(*ends)
