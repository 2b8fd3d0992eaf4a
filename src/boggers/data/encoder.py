"""A process that encodes: `python -m boggers.data.encoder`, started by `encoding.py` alone.

It takes pickled stretches of text from its parent through its standard input, and answers each
with what was written, or with the error that prevented it.
"""

import pickle
import sys

from boggers.data.encoding import write_shard


def main() -> None:
    """Encode until the parent closes the pipe or is gone."""
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # so that nothing but answers goes to the parent
    tokenizer = pickle.load(source)
    while True:
        try:
            folder, number, stretch = pickle.load(source)
        except EOFError:
            return
        try:
            answer: object = write_shard(folder, number, stretch, tokenizer)
        except (OSError, ValueError) as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
