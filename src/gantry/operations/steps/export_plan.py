"""The plan of an export: what is moved from where to where, and upon which chain."""

from __future__ import annotations

from gantry.model import export_facts
from gantry.model.backup_orders import (
    Peer,
)
from gantry.model.entities import Instance, Mirror
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec
from gantry.operations.base import Plan
from gantry.operations.steps import mirrors
from gantry.operations.steps.increments import Upon
from gantry.operations.steps.transfer import Transfer


class ExportPlan(Plan, frozen=True, kw_only=True):
    """``others`` are the nodes whose older exports of the instance are deleted at the end.

    ``mark`` is what this moment is called, where another point may be built on it; ``upon`` is
    the chain that the export is added to, and ``why`` says in words what kind it is.
    """

    instance: Instance
    spec: GuestSpec
    target: Peer
    transfers: tuple[Transfer, ...]
    others: tuple[Uuid, ...]
    running: bool
    stop: bool
    config: str
    facts: str
    now: float | None = None
    mirroring: mirrors.Mirroring | None = None
    records: tuple[Mirror, ...] = ()
    mark: Uuid | None = None
    upon: Upon | None = None
    why: str = ""

    @property
    def point(self) -> int:
        """Its number."""
        return 1 if self.upon is None else self.upon.number

    @property
    def since(self) -> Uuid | None:
        """Only what has changed since then is exported."""
        return None if self.upon is None else self.upon.since

    @property
    def unchanged(self) -> bool:
        """Nothing is moved: nothing has changed since the last point."""
        return self.upon is not None and self.upon.unchanged

    @property
    def dumps(self) -> tuple[str, ...]:
        """The names of what it has of the disks."""
        return tuple(export_facts.dump_name(disk.uuid, self.point) for disk in self.instance.disks)

    @property
    def live(self) -> bool:
        """Whether a snapshot is taken, since the guest goes on."""
        return self.running and not self.stop and bool(self.transfers)
