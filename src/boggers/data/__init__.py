"""Text to batches: corpora, token files, the split, windows in a seeded order.

Imports `text`, `files`, `errors`. Read `corpus.py` first, then follow the data: `tokens.py`,
`split.py`, `windows.py`.
"""
