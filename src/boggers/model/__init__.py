"""Tokens to state to logits: the networks that put tokens into the physics and read them back.

Imports `dynamics`, `field`, `shapes`, `files`, `errors`; it has never heard of text. Read
`window.py` first.
"""
