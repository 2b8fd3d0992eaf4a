"""The command `boggers VERB …`: finds the verb, runs it, turns errors of the user's into a line.

Only the module of the verb that was asked for is imported, so that help comes at once.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from boggers.errors import UserError
from boggers.machine import wait_briefly
from boggers.version import __version__

VERBS = {
    "train": "Train a model on a text; everything it makes goes into one folder, the run.",
    "generate": "Continue a prompt with a trained run.",
    "serve": "Serve a trained run behind OpenAI's interface, with a page that shows it settle.",
    "chat": "Talk with a trained run and watch its tension.",
    "eval": "Measure a run on text that it has not seen, beside n-gram models of the same text.",
    "compare": "Set two texts side by side: where their states end and how they come there.",
    "sweep": "Train with several values of one option and say what it is worth.",
    "corpus": "Look at a text, make a synthetic one, or fetch one from the hub.",
    "tokenizer": "Train a tokenizer on a text, or see how one cuts a text.",
    "graph": "Look at a living graph, let it tick, run and grow, and carry it elsewhere.",
    "bench": "Train our models and well-known ones on equal terms, and compare them.",
    "doctor": "Check that this machine can settle, train, generate and save.",
    "plot": "Draw how a run learned, how its states settle and what is in them.",
}
"""Every verb and the sentence that explains it; `boggers.cli.VERB` is its module."""

EXAMPLES = """\
Two commands to begin with:
  boggers train demo --out runs/demo
  boggers generate runs/demo --prompt "My fellow citizens" --max-tokens 60
"""

USAGE_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run `boggers` with these arguments and return its exit code.

    0 it worked; 1 the doctor found something; 2 a mistake that the user can mend, told in one
    line on the error stream; 130 interrupted. Other exceptions are ours and keep their traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UserError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(_sentence(error))
    except KeyboardInterrupt:
        print("boggers: interrupted.", file=sys.stderr)
        return INTERRUPTED


def overview() -> str:
    """What `boggers --help` says."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {sentence}" for verb, sentence in VERBS.items())
    return (
        "usage: boggers VERB …\n\n"
        "A language model that thinks by settling: tokens become a state, the state rolls\n"
        "downhill in a learned energy, the next token is read from where it rests.\n\n"
        f"Verbs:\n{verbs}\n\n{EXAMPLES}\n"
        "boggers VERB --help explains a verb; boggers --version says which one this is.\n"
    )


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb in ("--version", "-V", "version"):
        print(f"boggers {__version__}")
        return 0
    if verb not in VERBS:
        raise UserError(_unknown_verb(verb))
    wait_briefly()
    module = importlib.import_module(f"boggers.cli.{verb}")
    try:
        return module.run(rest) or 0
    except SystemExit as end:  # how the option parser ends after --help
        return end.code if isinstance(end.code, int) else 0


def _unknown_verb(verb: str) -> str:
    close = difflib.get_close_matches(verb, VERBS, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"The verbs are {', '.join(VERBS)}."
    return f"There is no verb {verb!r}. {hint} See boggers --help."


def _sentence(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"{reason}."
    return f"{os.fsdecode(error.filename)}: {reason}."


def _complain(sentence: str) -> int:
    print(f"boggers: {' '.join(sentence.split())}", file=sys.stderr)
    return USAGE_ERROR
