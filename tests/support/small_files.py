"""A limit on the size of files, which fails like a disk that is full, in the middle of a file."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def no_files_above(size: int) -> Iterator[None]:
    """No file of this process, and of those that it starts, gets larger than so many bytes.

    It is as well that of the test run, whose own output may be such a file: to be left again
    before a test ends.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
