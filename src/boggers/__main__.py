"""`python -m boggers` is the command `boggers`."""

import sys

from boggers.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
