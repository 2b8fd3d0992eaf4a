"""A process that ticks and saves until it is killed: python -m tests.graph.ticking DATABASE."""

import sys
from pathlib import Path

from boggers.graph.language import LanguageNode
from boggers.graph.store import GraphStore
from boggers.graph.tscore import bootstrap


def tension_of(batch: int) -> float:
    """What the model reports at a batch: a pure function of its number."""
    return 0.12 + 0.6 * ((batch * 37) % 100) / 100


def main(path: Path) -> None:
    with GraphStore(path, history=1_000_000) as store:
        graph = bootstrap() if store.empty else store.load()
        node = LanguageNode(graph)
        batch = len(store.history())
        while True:
            felt = node.feel(tension_of(batch))
            store.save(graph, language=felt.language_tension, evolved=felt.evolved)
            batch += 1
            sys.stdout.write(f"{batch}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
