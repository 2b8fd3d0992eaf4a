"""Looking into a trained model: attractors, stability, learned patterns, timescales, diagnosis.

Imports `infer` and below; knows neither pictures nor reports. Read `places.py` first.
"""
