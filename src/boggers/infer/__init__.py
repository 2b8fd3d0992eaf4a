"""Ids to ids, text to text: scoring, sampling, generation with a trained model.

Imports `model`, `dynamics`, `text` and below. Read `engine.py` first.
"""
