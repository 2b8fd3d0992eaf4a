"""How a state moves: the relaxation loop and everything that has a say in it.

Imports only `field`, `shapes` and `errors`. Read `relax.py` first: it is one loop; pace, breaks,
rest and record are values handed to it and returned from it, never attributes left behind.
"""
