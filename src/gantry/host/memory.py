"""What the C library does with memory that is free: it keeps more of it than is good here."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""The number of that option in <malloc.h>."""
_LARGE: Final = 128 * 1024


def keep_large_apart() -> None:
    """Blocks of 128 KiB and more get pages of their own, which go back as soon as they are free.

    So it is at first, but the C library raises that limit with each such block that is freed, up
    to 32 MiB. From then on the tables and texts of a large cluster, new with every change, leave
    holes all over the heap. Nothing where libc has no such call.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Release what is free inside the heap; some milliseconds. Nothing where libc has no such call.

    After a start the heap is full of holes: what was read from the store is as much again as what
    is kept of it, and the C library gives back only what lies at the end.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
