"""Giving memory back to the system that the C library keeps although nothing uses it."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Release what is free inside the heap; some milliseconds. Nothing where libc has no such call.

    After a start the heap is full of holes: what was read from the store is as much again as what
    is kept of it, and the C library gives back only what lies at the end.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
