"""Training: objective, optimiser, loop, checkpoints and the folder of a run.

May import model, dynamics, field, infer and probe (to measure held-out text), data, text, files
and errors; never cli, recipes, evals or plots. Read first: `run.py` (what defines a run), then
`loop.py`.
"""
