"""How much history is kept: so many revisions, and so many bytes of written values; pure.

etcd compacts by itself only where its operator says so.
"""

from __future__ import annotations

from collections import deque
from typing import Final

KEEP_REVISIONS: Final = 100_000
KEEP_BYTES: Final = 64 * 1024 * 1024
_MARKS: Final = 16


class Horizon:
    """What this writer has written, in a dozen of marks."""

    def __init__(self, keep_revisions: int = KEEP_REVISIONS, keep_bytes: int = KEEP_BYTES) -> None:
        self._keep_revisions = keep_revisions
        self._keep_bytes = keep_bytes
        # Each mark: a revision, and the bytes written since the one before and up to it.
        self._marks: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._first: int | None = None
        self._pending = 0

    def wrote(self, revision: int, size: int) -> int | None:
        """Note a commit; answers up to which revision the history should go now, if at all."""
        if self._first is None:
            self._first = revision
            self._marks.append((revision, 0))
        self._pending += size
        self._bytes += size
        if not self._is_step(revision):
            return None
        self._marks.append((revision, self._pending))
        self._pending = 0
        return self._over(revision)

    def _is_step(self, revision: int) -> bool:
        many = revision - self._marks[-1][0] >= max(1, self._keep_revisions // _MARKS)
        return many or self._pending >= max(1, self._keep_bytes // _MARKS)

    def _over(self, revision: int) -> int | None:
        horizon = None
        while len(self._marks) > 1:
            first, size = self._marks[0]
            if revision - first < self._keep_revisions and self._bytes <= self._keep_bytes:
                break
            self._bytes -= size
            horizon = first
            self._marks.popleft()
        return horizon
