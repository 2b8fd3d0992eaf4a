"""Pages lead where they say, and say of flags what is true of them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINKS = [
    (page, target)
    for page in sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
    for target in re.findall(r"\]\(([^)#:]+)\)", COMMENT.sub("", page.read_text()))
]
ORIGINAL = (DOCS / "from-the-original.md").read_text()


@pytest.mark.parametrize(("page", "target"), LINKS, ids=lambda value: Path(value).name)
def test_every_link_between_files_leads_to_one(page: Path, target: str) -> None:
    assert (page.parent / target).exists()


def flags(section: str) -> set[str]:
    """The flags in the first column of a section's table."""
    text = ORIGINAL.partition(f"\n{section}\n")[2].partition("\n##")[0]
    rows = re.findall(r"^\| (`--.*?) \|", text, re.MULTILINE)
    return {flag for row in rows for flag in re.findall(r"`(--[\w-]+)`", row)}


def test_flags_said_to_be_accepted_are_and_the_others_are_not() -> None:
    train = (DOCS / "cli.md").read_text().partition("\n## boggers train\n")[2].partition("\n## ")[0]
    accepted = set(re.findall(r"--[a-z0-9][\w-]*", train))
    here, not_yet = flags("## Flags"), flags("### Flags not yet accepted")
    assert len(here) + len(not_yet) > 98
    assert here <= accepted
    assert not not_yet & accepted


def test_files_named_on_the_page_of_the_original_exist() -> None:
    tables = re.findall(r"^\| [^|]+ \| ([^|]+) \|", ORIGINAL, re.MULTILINE)
    named = {
        path
        for cell in tables
        for path in re.findall(r"`([\w./-]+(?:\.py|\.md|\.toml|\.txt|/))`", cell)
    }
    assert len(named) > 20
    missing = {
        path
        for path in named
        if not (ROOT / path).exists() and not (ROOT / "src" / "boggers" / path).exists()
    }
    assert missing <= {"checkpoints/step-0000123/"}


def numbers(text: str) -> set[str]:
    """The numbers of a register that a cell names, ranges like `M1 to M12` counted out."""
    found = set(re.findall(r"\b[BDMNPS]\d+\b|§[\d.]+\d", text))
    for letter, first, last in re.findall(r"\b([BDMNPS])(\d+) to [BDMNPS](\d+)\b", text):
        found |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
    return found


def test_every_defect_of_the_register_has_an_answer_and_the_tests_that_prove_it_exist() -> None:
    table = ORIGINAL.partition("| defect | answer | proved by |\n")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ?([^|]*) ?\|$", table, re.MULTILINE)
    answered = {number for defect, _, _ in rows for number in numbers(defect)}
    register = {f"B{n}" for n in range(1, 41)} | {f"D{n}" for n in range(1, 10)} | {"§5.5", "§9.3"}
    assert register <= answered
    for defect, answer, proofs in rows:
        assert answer.strip(), defect
        for name, file in re.findall(r"\[([^]]+)\]\(\.\./(tests/[\w/]+\.py)\)", proofs):
            assert f"def test_{name.replace(' ', '_')}(" in (ROOT / file).read_text(), name
        assert proofs.strip() or "gone" in answer or "absent" in answer, defect
