"""`python -m boggers` is the command `boggers`."""

from boggers.cli.main import main

if __name__ == "__main__":
    main()
