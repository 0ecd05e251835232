"""Orders and questions about being the master: who was, who could be, and the state's copies."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model.asking import Nothing, Order, Question
from gantry.model.names import Uuid


class MasterSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent knows of masters.

    ``epoch`` is the highest one that it has seen, ``node`` where the master of that epoch ran
    (None where it cannot tell), ``job`` the highest number of a job that it had an order of.
    ``waiting``: on its own node a master process waits to be woken.
    """

    epoch: int
    node: Uuid | None = None
    job: int = 0
    waiting: bool = False


class ReadMaster(Question[MasterSeen], frozen=True, kw_only=True, tag="master"):
    """Who was master, as far as the agent knows."""

    answer: ClassVar[type[msgspec.Struct]] = MasterSeen


class MasterReady(Order[Nothing], frozen=True, kw_only=True, tag="master-ready"):
    """See that this node could be master at once; Rejected with what is missing.

    ``size`` MiB must be free where the state is kept.
    """

    size: int = 0


class StatePiece(Order[Nothing], frozen=True, kw_only=True, tag="state-piece"):
    """A piece of a file of the master's state, written at ``offset``.

    ``copy`` names the copy that it belongs to, ``file`` which of its files it is.
    """

    copy: str
    file: str
    offset: int
    data: bytes


class StateFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a copy, whole: what it must be."""

    file: str
    size: int
    sha256: str


class StateComplete(Order[Nothing], frozen=True, kw_only=True, tag="state-complete"):
    """All pieces are there: check them and keep the copy, in the place of older ones.

    ``taken`` is in seconds since 1970, ``revision`` the store's at that moment. With ``take_over``
    the copy becomes the node's state, and the master process that waits there is woken. One
    of the history alone, as where the state is in etcd, becomes the node's history. A copy
    that is not what it should be is refused, with nothing changed.
    """

    copy: str
    files: tuple[StateFile, ...]
    taken: float
    revision: int
    take_over: bool = False
