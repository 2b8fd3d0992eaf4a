"""Measuring a trained run on text it has not seen, beside models that count.

Imports `train` (the run folder), `probe`, `infer`, `data` and below; never `plots`. Read
`report.py` first. `harness.py` alone imports lm_eval.
"""
