"""The Dockerfile's own commands, run here: it installs, serves, looks after itself, refuses."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .conftest import stream_mind
from .test_faults import ended, write_run

ROOT = Path(__file__).parents[2]
STEPS = [
    (found[1], found[2])
    for found in re.finditer(
        r"^([A-Z]+) (.*)$", (ROOT / "Dockerfile").read_text().replace("\\\n", ""), re.MULTILINE
    )
]


def of(kind: str) -> list[str]:
    return [said for name, said in STEPS if name == kind]


def environment(**more: str) -> dict[str, str]:
    """What the image sets, with this interpreter's commands first in the path."""
    told = dict(pair.split("=", 1) for line in of("ENV") for pair in shlex.split(line))
    here = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": here, **told, "HOST": "127.0.0.1", **more}


def exec_form(said: str) -> list[str]:
    found: list[str] = json.loads(said[said.index("[") :])
    return found


def serve_and_look(settings: dict[str, str]) -> None:
    """The image's command answers, its health check passes, and SIGTERM ends it in order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = {**settings, "PORT": str(probe.getsockname()[1])}
    (command,), (check,) = of("CMD"), of("HEALTHCHECK")
    healthy = exec_form(check.partition("CMD ")[2])
    assert subprocess.run(healthy, env=settings, capture_output=True).returncode != 0
    process = subprocess.Popen(
        exec_form(command),
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{settings['PORT']}"
        said = next((line for line in process.stdout if " at http" in line), "it ended")
        assert f" at {url}" in said
        assert subprocess.run(healthy, env=settings, capture_output=True).returncode == 0
        asked = httpx.post(
            f"{url}/v1/completions", json={"prompt": "a", "max_tokens": 3}, timeout=60
        )
        assert asked.status_code == 200
        assert (httpx.get(f"{url}/ts/tension", timeout=60).status_code == 200) == bool(
            settings["GRAPH"]
        )
        process.terminate()
        assert process.wait(60) == 0
    finally:
        ended(process)


def test_its_command_serves_and_its_health_check_knows(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", stream_mind())
    (tmp_path / "graph").mkdir()
    serve_and_look(environment(RUN=str(run), GRAPH=str(tmp_path / "graph")))
    assert list((tmp_path / "graph").glob("*.sqlite"))


def test_without_a_trained_run_it_says_so_and_stops(tmp_path: Path) -> None:
    write_run(tmp_path / "fresh", stream_mind(), step=0)
    done = subprocess.run(
        exec_form(of("CMD")[0]),
        env=environment(RUN=str(tmp_path / "fresh"), PORT="0"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "not been trained" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_it_has_no_rights_and_its_files_are_there() -> None:
    (user,) = of("USER")
    assert any(re.search(rf"useradd .*--uid \d+ {user}$", said) for said in of("RUN"))
    order = [name for name, _ in STEPS]
    assert order.index("USER") < order.index("CMD")
    assert set(json.loads(of("VOLUME")[0])) == {"/runs", "/graph"}
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    for said in of("COPY"):
        for name in said.split()[:-1]:
            assert name in allowed
            assert (ROOT / name).exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_its_steps_build_what_serves(tmp_path: Path) -> None:
    """The COPY and RUN lines in order, in a fresh environment instead of an image.

    BOGGERS_TORCH_INDEX is an index that holds the pinned torch, where the Dockerfile's own cannot
    be reached.
    """
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    app = tmp_path / "app"
    app.mkdir()
    (index,) = (said.partition("=")[2] for said in of("ARG"))
    settings = environment(TORCH_INDEX=os.environ.get("BOGGERS_TORCH_INDEX", index))
    settings["PATH"] = f"{tmp_path / 'env' / 'bin'}:{settings['PATH']}"
    for kind, said in STEPS:
        if kind == "COPY":
            *names, target = said.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, app / target)
                else:
                    shutil.copy(ROOT / name, app / target)
        elif kind == "RUN" and not said.startswith(("useradd", "mkdir")):  # need root's rights
            done = subprocess.run(
                ["sh", "-c", said], cwd=app, env=settings, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
    run = write_run(tmp_path / "run", stream_mind())
    (tmp_path / "graph").mkdir()
    serve_and_look({**settings, "RUN": str(run), "GRAPH": str(tmp_path / "graph")})
