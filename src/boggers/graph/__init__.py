"""The living graph: nodes that a model's tension moves, and what they remember of its tokens.

Knows no model: they meet through numbers that `train` and `infer` hand over. May import `files` and
`errors` only; SciPy comes with the extra `graph`. Nothing here is imported unless a run asks for
it. Read `living.py` first, then `cycle.py`.
"""
