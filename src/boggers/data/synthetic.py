"""A deterministic little world of sentences, for tests and first runs without any text at hand."""

import random
from collections.abc import Iterator, Sequence

PEOPLE = (
    *("the ferryman", "a clockmaker", "the old gardener", "her youngest aunt", "a tired pilot"),
    *("the baker", "my neighbour", "the night nurse", "a travelling painter", "the twins"),
)
THINGS = (
    *("lantern", "compass", "letter", "kettle", "violin", "ladder", "map", "mirror"),
    *("basket", "anchor", "candle", "bridge", "blanket", "radio", "key", "telescope"),
)
QUALITIES = (
    *("narrow", "golden", "broken", "silent", "borrowed", "heavy", "painted", "late"),
    *("crooked", "patient", "rusty", "famous"),
)
DEEDS = (
    *("carried", "repaired", "forgot", "followed", "measured", "lifted", "returned", "studied"),
    *("hid", "traded", "painted", "described"),
)
PLACES = (
    *("by the harbour", "under the stairs", "near the mill", "across the valley"),
    *("behind the school", "at the edge of the wood", "in the empty station"),
)
TIMES = (
    *("before dawn", "after the rain", "every autumn", "without a word", "for a second time"),
    *("on the longest day", "as the lamps went out"),
)
REASONS = (
    *("it had begun to snow", "nobody else would", "the tide was turning"),
    *("a promise is a promise", "the road was closed", "someone had to"),
)
SHAPES = (
    "{person} {deed} the {quality} {thing} {place}.",
    "{time}, {person} {deed} a {quality} {thing} {place}.",
    "{person} {deed} the {thing} because {reason}.",
    "no {thing} is as {quality} as the one {person} {deed} {time}.",
    "when {reason}, {person} {deed} the {thing} {time}.",
    "“is the {thing} {place}?” {person} asked; it was, and it looked {quality}.",
    "the {thing} that {person} {deed} was {quality}, and so was the {other}.",
    "{person} had a {thing} and a {other}, both {quality}, and {deed} neither.",
)


def stories(words: int, seed: int) -> Iterator[str]:
    """Documents of one to four paragraphs, `words` words in all or some to end a sentence."""
    source = random.Random(seed)
    left = words
    while left > 0:
        paragraphs = []
        for _ in range(1 + _below(source, 4)):
            sentences = []
            for _ in range(4 + _below(source, 6)):
                if left > 0:
                    sentences.append(_sentence(source))
                    left -= len(sentences[-1].split())
            if sentences:
                paragraphs.append(" ".join(sentences))
        yield "\n\n".join(paragraphs) + "\n"


def _sentence(source: random.Random) -> str:
    sentence = _one_of(source, SHAPES).format(
        person=_one_of(source, PEOPLE),
        thing=_one_of(source, THINGS),
        other=_one_of(source, THINGS),
        quality=_one_of(source, QUALITIES),
        deed=_one_of(source, DEEDS),
        place=_one_of(source, PLACES),
        time=_one_of(source, TIMES),
        reason=_one_of(source, REASONS),
    )
    first = 1 if sentence.startswith("“") else 0
    return sentence[:first] + sentence[first].upper() + sentence[first + 1 :]


def _one_of(source: random.Random, choices: Sequence[str]) -> str:
    return choices[_below(source, len(choices))]


def _below(source: random.Random, n: int) -> int:
    """A number below n by `random()`, the one draw whose values Python promises to keep."""
    return int(source.random() * n)
