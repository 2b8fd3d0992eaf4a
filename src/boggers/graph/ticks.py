"""How long a graph is given after a run; apart from what needs SciPy, for those who only ask."""

TICKS = 11
"""Of the cycle of the harness, as in the original."""
