"""Makes runs known to the harness' own command, in an environment where a person asks for it.

    python -m boggers.evals.introduce          # from now on: lm_eval --model boggers …
    python -m boggers.evals.introduce --undo

lm_eval knows the models of its own package and looks for no others. Python carries out the lines of
`*.pth` files beside its packages when it starts; the file written here has one line, which imports
`introduced.py`.
"""

import argparse
import sys
import sysconfig
from pathlib import Path

from boggers.errors import UserError
from boggers.files import write_bytes

FILE = "boggers-lm-eval.pth"
# Nothing happens where boggers has been taken away since.
LINE = (
    "import importlib.util; "
    "importlib.util.find_spec('boggers') and __import__('boggers.evals.introduced')\n"
)


def main() -> int:
    """Write the file into this environment, or remove it; says so in a line."""
    parser = argparse.ArgumentParser(description="Make `lm_eval --model boggers` work here.")
    parser.add_argument("--undo", action="store_true", help="take it back")
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_path("purelib")))
    options = parser.parse_args()
    file = options.folder / FILE
    try:
        if options.undo:
            file.unlink(missing_ok=True)
            sys.stdout.write(f"{file} is gone.\n")
        else:
            write_bytes(file, LINE.encode())
            sys.stdout.write(f"{file} is written: lm_eval --model boggers works now.\n")
    except (OSError, UserError) as error:
        sys.stderr.write(f"boggers: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
