"""Going on when the master went away: looking for the one that takes over, for a while.

Only what may be asked twice goes through here: following a job, and submissions, whose random
id makes a repeat the same job.
"""

from __future__ import annotations

import sys
import time

from gantry.client.errors import ApiError, ClientError, MasterDown, MasterLost, NotMaster
from gantry.model import timeouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


class Search:
    """One search: what it finds must be of use before its time is over."""

    def __init__(self, lost: ClientError, quiet: bool) -> None:
        self._deadline = time.monotonic() + timeouts.MASTER_SEARCH
        # Words only: errors keep the frames alive that they went through, open streams included.
        self._said = (lost.message, lost.hint)
        if not quiet:
            seconds = f"{timeouts.MASTER_SEARCH:g} s"
            sys.stderr.write(f"{lost.message}; looking for a master for up to {seconds}\n")
            sys.stderr.flush()

    def find(self, attempt: Callable[[], T]) -> T:
        """What ``attempt`` gives, tried again and again; MasterDown when the time is over."""
        while True:
            if time.monotonic() > self._deadline:
                raise MasterDown(*self._said)
            time.sleep(timeouts.MASTER_LOOK)
            try:
                return attempt()
            except (MasterDown, NotMaster) as error:
                self._said = (error.message, error.hint)
            except ApiError as error:
                if error.code != "unavailable":
                    raise
                self._said = (error.message, error.hint)


def persist(attempt: Callable[[], T], quiet: bool = False) -> T:
    """``attempt()``; where the master goes away meanwhile, the same of the next master."""
    try:
        return attempt()
    except MasterLost as lost:
        search = Search(lost, quiet)
    return search.find(attempt)


def as_lost(error: ApiError) -> MasterLost:
    """What a master that ends says of itself."""
    return MasterLost(error.message, error.hint)
