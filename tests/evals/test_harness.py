"""Runs inside lm-evaluation-harness: local tasks, and figures that agree with ours."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from boggers.errors import UserError
from boggers.evals.report import evaluate
from boggers.infer.engine import Engine

from ..runs import story

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("lm_eval") is None,
        reason="needs the extra eval: lm_eval is not installed",
    ),
    # The harness and the libraries that it brings warn of their own affairs.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks on local data: a text to be predicted, and sentences to choose between."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "text.jsonl").write_text(json.dumps({"page": story(120, seed=9)}) + "\n")
    pairs = [{"good": f"the Fox sees a hill {i}", "bad": f"zqx#{i} ~~ %%^ @"} for i in range(8)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (folder / "text.yaml").write_text(
        f"""
task: local_text
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{folder / "text.jsonl"}"}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{page}}}}"
metric_list: [{{metric: bits_per_byte}}, {{metric: byte_perplexity}}]
"""
    )
    (folder / "pairs.yaml").write_text(
        f"""
task: local_pairs
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{folder / "pairs.jsonl"}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: ""
doc_to_target: 0
doc_to_choice: "{{{{[good, bad]}}}}"
metric_list: [{{metric: acc}}]
"""
    )
    return folder


def test_bits_per_byte_agree_with_the_rolling_likelihood(any_run: Path, tasks: Path) -> None:
    from boggers.evals.harness import on_tasks

    found = on_tasks(any_run, ["local_text", "local_pairs"], include=tasks)
    page = json.loads((tasks / "text.jsonl").read_text())["page"]
    text = tasks / "page.txt"
    text.write_text(page, encoding="utf-8")
    ours = evaluate(any_run, corpus=str(text), full=False).val_bpb
    assert found["local_text"]["bits_per_byte,none"] == pytest.approx(ours, abs=1e-6)
    # Words that the run has read are likelier to it than noise.
    assert found["local_pairs"]["acc,none"] == 1.0


def test_the_name_is_registered_and_takes_a_run(any_run: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    import boggers.evals.harness  # noqa: F401

    told = {"run": str(any_run), "device": "cpu"}
    model = get_model("boggers").create_from_arg_obj(told, {"device": "cuda:9", "batch_size": 1})
    assert model.device.type == "cpu"
    model = get_model("boggers").create_from_arg_string(f"run={any_run},device=cpu")
    engine = Engine.load(any_run)

    def ask(kind: str, *arguments: object) -> Instance:
        return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)  # type: ignore[arg-type]

    # A text after nothing is a text at a document's beginning.
    text = "the Fox sees a hill"
    (whole,) = model.loglikelihood_rolling([ask("loglikelihood_rolling", text)])
    ((alone, _),) = model.loglikelihood([ask("loglikelihood", "", text)])
    assert alone == pytest.approx(whole, abs=1e-9)
    assert whole < 0
    # What greedy writing gives is greedy, and anything else is not.
    (said,) = model.generate_until(
        [ask("generate_until", "the Fox", {"until": ["\n"], "max_gen_toks": 12})]
    )
    assert said
    own = engine.generate("the Fox", max_tokens=12).removeprefix("the Fox")
    assert isinstance(own, str)
    ((_, greedy), (_, other)) = model.loglikelihood(
        [ask("loglikelihood", "the Fox", said), ask("loglikelihood", "the Fox", "#~")]
    )
    assert greedy
    assert not other
    (stopped,) = model.generate_until(
        [ask("generate_until", "the Fox", {"until": [said[2]], "max_gen_toks": 12})]
    )
    assert stopped == said[: said.index(said[2])]


def test_the_harness_own_models_stay_known() -> None:
    code = (
        "import boggers.evals.harness; from lm_eval.api.registry import model_registry as known; "
        "print({'boggers', 'hf', 'local-completions'} <= set(known))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def introduced(folder: Path) -> str:
    """What a Python does at its start in an environment to which boggers has been introduced."""
    command = [sys.executable, "-m", "boggers.evals.introduce", "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "lm_eval --model boggers" in done.stdout
    return f"import site; site.addsitedir({str(folder)!r}); "


def test_the_harness_itself_knows_a_run_where_it_was_introduced(tmp_path: Path) -> None:
    start = introduced(tmp_path)
    code = (
        "import sys; assert 'torch' not in sys.modules and 'lm_eval' not in sys.modules; "
        "from lm_eval.api.registry import get_model; from lm_eval.models import MODEL_MAPPING; "
        "assert 'boggers.model' not in sys.modules; "
        "print(get_model('boggers').__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "boggers.evals.harness\n"
    undo = ["-m", "boggers.evals.introduce", "--folder", str(tmp_path), "--undo"]
    subprocess.run([sys.executable, *undo], check=True, capture_output=True)
    assert not list(tmp_path.iterdir())


def test_an_environment_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    command = ["-m", "boggers.evals.introduce", "--folder", str(tmp_path / "nowhere" / "at all")]
    (tmp_path / "nowhere").write_text("a file")
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("boggers: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("bare", [False, True])
def test_its_command_line_runs_a_task(
    stream_run: Path, tasks: Path, tmp_path: Path, bare: bool
) -> None:
    """The commands of docs/evaluation.md, on local data."""
    command = ["-m", "boggers.evals.harness"]
    if bare:
        folder = tmp_path / "packages"
        folder.mkdir()
        start = introduced(folder) + "from lm_eval.__main__ import cli_evaluate; cli_evaluate()"
        command = ["-c", start]
    command += ["--model", "boggers", "--tasks", "local_text", "--device", "cpu"]
    command += ["--model_args", f"run={stream_run}", "--include_path", str(tasks)]
    command += ["--output_path", str(tasks / "found")]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "bits_per_byte" in done.stdout
    (file,) = (tasks / "found").rglob("results_*.json")
    found = json.loads(file.read_text())["results"]["local_text"]["bits_per_byte,none"]
    page = tasks / "page.txt"
    page.write_text(json.loads((tasks / "text.jsonl").read_text())["page"], encoding="utf-8")
    assert found == pytest.approx(
        evaluate(stream_run, corpus=str(page), full=False).val_bpb, abs=1e-6
    )


def test_mistakes_are_sentences(
    any_run: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks import TaskManager

    from boggers.evals.harness import BoggersLM, on_tasks

    with pytest.raises(UserError, match="needs a run"):
        BoggersLM()
    # Reading all of the harness' own tasks takes long; an own folder is enough to miss one.
    monkeypatch.setattr(
        "boggers.evals.harness._manager",
        lambda names, include: TaskManager(include_path=str(include), include_defaults=False),
    )
    with pytest.raises(UserError, match="no task 'nonsense'"):
        on_tasks(any_run, ["nonsense"], include=tasks)


def test_the_likelihood_is_that_of_the_logits(stream_run: Path) -> None:
    from boggers.evals.harness import BoggersLM

    model = BoggersLM(str(stream_run), device="cpu")
    ids = model.tok_encode("a hill")
    with torch.no_grad():
        logits = model.engine.model(torch.tensor([[model.eot_token_id, *ids[:-1]]])).logits[0]
    expected = float(logits.double().log_softmax(-1)[torch.arange(len(ids)), ids].sum())
    found, _ = model._continued([model.eot_token_id], ids)
    assert found == pytest.approx(expected, abs=1e-6)
    assert math.isfinite(found)
