import random
from collections.abc import Callable
from pathlib import Path

import pytest

from boggers.data.config import DataConfig

Write = Callable[..., Path]
Configure = Callable[..., DataConfig]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Make a file: `write("a/b.txt", "text")`; strings become UTF-8."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return make


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """A configuration whose cache lies in the test's own folder."""

    def make(corpus: object, **settings: object) -> DataConfig:
        given = {"cache_dir": tmp_path / "cache", **settings}
        return DataConfig(corpus=str(corpus), **given)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def prose() -> str:
    """Some 40 kB with letters of one to four bytes, runs of blanks and all kinds of line ends."""
    choose = random.Random(11)
    words = ["the", "fox's", "höhe", "naïve", "語", "42", "🙂", "we'll", "—", "end.", "(x)"]
    words += ["".join(choose.choices("etaoinshrdlucm", k=choose.randint(2, 8))) for _ in range(150)]
    gaps = [" ", " ", " ", "  ", "\n", "\n\n", "\r\n", "\t", " \n "]
    return "".join(choose.choice(words) + choose.choice(gaps) for _ in range(7000))
