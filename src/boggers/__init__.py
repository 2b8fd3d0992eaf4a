"""A language model that thinks by settling."""

from boggers.version import __version__ as __version__
