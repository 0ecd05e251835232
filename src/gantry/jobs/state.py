"""The cluster as it is now: one immutable snapshot, replaced at every change; no store here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gantry.jobs.reservations import Reservations
from gantry.model.entities import AnyEntity
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot


class LiveStates:
    """What the agents last said; supervision fills it, the snapshot shows it."""

    def __init__(self) -> None:
        self.nodes: dict[Uuid, NodeLive] = {}

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        """``live`` is what is true on ``node`` from now on."""
        self.nodes = {**self.nodes, node: live}

    def forget(self, node: Uuid) -> None:
        """The node is not of the cluster any more."""
        self.nodes = {uuid: live for uuid, live in self.nodes.items() if uuid != node}


class State:
    """Entities from the commits, live states from supervision, claims from running jobs."""

    def __init__(self, snapshot: Snapshot, live: LiveStates, reservations: Reservations) -> None:
        self._snapshot = snapshot
        self._live = live
        self._reservations = reservations
        self.doubtful: frozenset[tuple[Uuid, Uuid]] = frozenset()
        """As the snapshot's; kept by what knows the orders that are owed."""
        self._told: list[Callable[[], None]] = []

    def on_change(self, told: Callable[[], None]) -> None:
        """Call ``told`` after every commit that changes objects."""
        self._told.append(told)

    def snapshot(self) -> Snapshot:
        """The cluster now; the same object until something changes."""
        now = self._snapshot
        reserved, claims = self._reservations.view
        if (
            now.live is not self._live.nodes
            or now.reserved is not reserved
            or now.claims is not claims
            or now.doubtful is not self.doubtful
        ):
            now = self._snapshot = msgspec.structs.replace(
                now,
                live=self._live.nodes,
                reserved=reserved,
                claims=claims,
                doubtful=self.doubtful,
            )
        return now

    def apply(
        self, revision: int, put: Iterable[AnyEntity], delete: Iterable[AnyEntity] = ()
    ) -> None:
        """Take over a commit of our own."""
        put, delete = tuple(put), tuple(delete)
        self._snapshot = self._snapshot.with_changes(revision, put, delete)
        if put or delete:
            for told in self._told:
                told()
