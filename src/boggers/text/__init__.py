"""Text to token ids and back, with the bytes that each token stands for.

Imports only `files` and `errors`. Read `base.py` first. A tokenizer is a folder of JSON and a
fingerprint; a model that was trained with one refuses another.
"""
