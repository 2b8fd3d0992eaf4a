"""What moves a state: energies with their exact forces, couplings, tension, anchors.

Nothing here loops: a force is a pure function of a state, and the room `dynamics` decides how
often and how far it acts. Imports only `shapes` and `errors`. Read `base.py` first.
"""
