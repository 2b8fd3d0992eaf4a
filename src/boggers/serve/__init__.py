"""A trained run over HTTP: an OpenAI-compatible server that shows how every token settles.

Imports `train` (run folders), `infer`, `model` and below; needs the extra `serve`, but for
`engine.py`, the part that knows nothing of HTTP. Read `engine.py` first, then `app.py`.
"""
