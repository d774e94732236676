"""The memory that a process has freed, kept for its next array.

The C library hands large arrays back to the system at once, and the system clears each page that
is asked for again: a third of the processor time of a fit of fields went there. Source:
mallopt(3), GNU C library.
"""

from __future__ import annotations

import ctypes

LEAST = 2**30  # bytes, from which on memory is still handed back at once
TRIM, MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h


def keep_freed() -> bool:
    """Keep what is freed, up to ``LEAST`` bytes; whether the C library knows how.

    >>> isinstance(keep_freed(), bool)
    True
    """
    try:
        option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not the GNU library
        return False
    return all(option(which, LEAST) == 1 for which in (TRIM, MAP))
