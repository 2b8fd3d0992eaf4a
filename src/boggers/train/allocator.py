"""Keeps freed memory in the process, so that a training step does not fault its pages in anew."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Ask the C library to hand no freed memory back to the system; True when it agreed.

    A step frees its large tensors and asks for the same sizes again. The GNU allocator maps each
    of them afresh, and the kernel then zeroes every page on first touch: about a tenth of the
    step at the window model's shape. It speaks for the whole process, so a program calls it, never
    the library. Other C libraries have no such setting and are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(set_option(M_MMAP_MAX, 0) and set_option(M_TRIM_THRESHOLD, LARGEST_INT))
