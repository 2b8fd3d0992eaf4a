"""From a corpus on the disk to batches of windows: reading, tokens, split, order.

Imports `text`, `files` and `errors`; knows nothing of models. Read `corpus.py` first: documents
become tokens (`tokens.py`), tokens are split (`split.py`), the training part is seen through
windows (`windows.py`).
"""
