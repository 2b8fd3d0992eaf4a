"""Programs that others wrote, against a live server: lm-eval and schemathesis."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from boggers.serve.mind import load_mind

from .conftest import Serve, stream_mind

QUESTIONS = [
    ("The sky is", " blue", " made of cheese"),
    ("Whales live in the", " sea", " trees of the forest"),
    ("Two and two are", " four", " very often five"),
    ("Snow is", " white and cold", " hot"),
]

TASK = """\
task: settled
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what lm-eval and datasets complain about is theirs
def test_lm_eval_scores_over_http_as_the_adapter_does_here(
    any_run: Path, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import lm_eval
    from lm_eval.tasks import TaskManager

    from boggers.evals.harness import BoggersLM

    live = serve(load_mind(any_run))
    rows = [{"question": q, "choices": [good, bad], "answer": 0} for q, good, bad in QUESTIONS]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "settled.yaml").write_text(TASK.format(file=data))

    def found(model: Any, **options: Any) -> tuple[list[list[float]], float]:
        """ln p of both answers to every question, and the share of right ones."""
        report: Any = lm_eval.simple_evaluate(
            model=model,
            tasks=["settled"],
            task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
            **options,
        )
        samples = sorted(report["samples"]["settled"], key=lambda sample: sample["doc_id"])
        said = [[float(answer[0][0]) for answer in sample["resps"]] for sample in samples]
        return said, report["results"]["settled"]["acc,none"]

    address = {"base_url": f"{live.url}/v1/completions", "model": live.house.mind.name}
    there, right_there = found("local-completions", model_args=address)
    here, right_here = found(BoggersLM(str(any_run), device="cpu"))
    assert np.shape(there) == (len(QUESTIONS), 2)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-6)
    assert right_there == right_here == np.mean([good > bad for good, bad in here])


HELD = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]

BAD = schemathesis.GenerationMode.NEGATIVE


@pytest.mark.timeout(3600)
# How schemathesis draws its cases is its own affair; what hypothesis thinks of it, too.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize(
    ("cases", "least"), [(3, 40), pytest.param(150, 2000, marks=pytest.mark.slow)]
)
def test_the_description_is_kept_whatever_is_sent(serve: Serve, cases: int, least: int) -> None:
    """No 500, no answer that the description does not know; so many cases for each endpoint."""
    import hypothesis

    # Short texts only: what is sent is tried here, not how long a text can become.
    live = serve(stream_mind(), limits={"max_tokens": 32, "max_choices": 4, "max_prompts": 8})
    schema = schemathesis.openapi.from_url(f"{live.url}/openapi.json")
    total = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/v1/models/reload":
            continue

        @hypothesis.settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy() | operation.as_strategy(BAD))
        def check(case: Any) -> None:
            nonlocal total
            total += 1
            case.call_and_validate(checks=HELD, timeout=120)

        check()
    assert total >= least
    assert live.http.get("/health").status_code == 200
