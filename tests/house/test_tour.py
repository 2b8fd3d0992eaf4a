"""The reading path leads somewhere."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LINKS = [
    (page, target)
    for page in sorted(DOCS.glob("*.md"))
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
]


@pytest.mark.parametrize(("page", "target"), LINKS, ids=lambda value: Path(value).name)
def test_every_link_between_files_leads_to_one(page: Path, target: str) -> None:
    assert (page.parent / target).exists()
