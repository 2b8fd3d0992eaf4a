"""Pictures of runs; the only room that imports matplotlib and plotly.

Imports `train` (the run folder), `probe`, `infer`, `dynamics` and below; never `evals`. Read
`canvas.py`.
"""
