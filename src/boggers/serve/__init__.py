"""A trained run over HTTP: an OpenAI-compatible server that shows how every token settles.

Imports `train` (run folders), `infer`, `model` and below; needs the extra `serve`, but for
`engine.py` and what that stands on, which know nothing of HTTP. Read `engine.py` first, then
`turns.py`, then `app.py`.
"""
