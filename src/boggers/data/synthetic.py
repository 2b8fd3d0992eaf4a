"""A deterministic little world of sentences, for tests and first runs without any text at hand."""

import random
from collections.abc import Iterator

PEOPLE = (
    "the ferryman",
    "a clockmaker",
    "the old gardener",
    "her youngest aunt",
    "a tired pilot",
    "the baker",
)
THINGS = (
    "lantern",
    "compass",
    "letter",
    "kettle",
    "violin",
    "ladder",
    "map",
    "mirror",
    "basket",
    "anchor",
    "candle",
    "bridge",
)
QUALITIES = (
    "narrow",
    "golden",
    "broken",
    "silent",
    "borrowed",
    "heavy",
    "painted",
    "early",
    "crooked",
    "patient",
)
DEEDS = (
    "carried",
    "repaired",
    "forgot",
    "followed",
    "measured",
    "lifted",
    "returned",
    "studied",
    "hid",
    "traded",
)
PLACES = (
    "by the harbour",
    "under the stairs",
    "near the mill",
    "across the valley",
    "behind the school",
)
TIMES = (
    "before dawn",
    "after the rain",
    "every autumn",
    "without a word",
    "for a second time",
)
REASONS = (
    "it had begun to snow",
    "nobody else would",
    "the tide was turning",
    "a promise is a promise",
)
SHAPES = (
    "{person} {deed} the {quality} {thing} {place}",
    "{time}, {person} {deed} a {thing} {place}",
    "{person} {deed} the {thing} because {reason}",
    "no {thing} is as {quality} as the one {person} {deed}",
    "when {reason}, {person} {deed} the {thing} {time}",
)


def paragraphs(words: int, seed: int) -> Iterator[str]:
    """Paragraphs of four to nine sentences, at least `words` words in all, in linear time."""
    source = random.Random(seed)
    written = 0
    while written < words:
        sentences = [_sentence(source) for _ in range(source.randint(4, 9))]
        paragraph = " ".join(sentences) + "\n\n"
        written += len(paragraph.split())
        yield paragraph


def _sentence(source: random.Random) -> str:
    sentence = source.choice(SHAPES).format(
        person=source.choice(PEOPLE),
        thing=source.choice(THINGS),
        quality=source.choice(QUALITIES),
        deed=source.choice(DEEDS),
        place=source.choice(PLACES),
        time=source.choice(TIMES),
        reason=source.choice(REASONS),
    )
    return sentence[0].upper() + sentence[1:] + "."
