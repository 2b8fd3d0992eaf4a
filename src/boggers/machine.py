"""How a process uses the machine: how its threads wait, what becomes of memory it has freed."""

import ctypes
import os

SPINS = "1000"
"""Turns of a loop, some microseconds: about as long as the next operation lets itself be waited
for."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # <malloc.h>
NEVER = 2**31 - 1
AT_ONCE = 64 * 2**20
"""Bytes that the heap grows by."""


def wait_briefly() -> None:
    """Let waiting threads spin for a moment and then sleep, unless the environment says otherwise.

    OpenMP reads this when torch is loaded. A thread that spins on keeps a core from whoever else
    wants one, and each training step then takes several times as long; a thread that sleeps at once
    has to be woken for every operation, which makes the steps of an idle machine a third longer.
    """
    if "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # GNU's, which looks at it first


def keep_memory() -> None:
    """Keep what is freed for the next allocation, for a process that trains.

    Every step of training allocates what the one before has freed. By default glibc gives large
    pieces back at once and the kernel hands out zeroed pages anew, a fifth of a step on a
    processor. The process stays as large as its largest step. Nothing happens without glibc, or if
    one of its MALLOC_ variables is set.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        tune = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, NEVER), (_TOP_PAD, AT_ONCE)):
        tune(option, value)
