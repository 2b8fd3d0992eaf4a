"""The one exception that is addressed to a person.

Its message is a sentence: what must hold, what came instead, what to do. The command line
prints that sentence and exits with status 2; every other exception is a defect of ours.
"""


class UserError(ValueError):
    """Raised for anything a user can cause and mend: a path, an option, a damaged file."""
