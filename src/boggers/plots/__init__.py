"""Pictures of runs; the only room that imports matplotlib.

Imports `train` (the run folder), `infer`, `dynamics` and below; never `evals`. Read `canvas.py`.
"""
