"""What the code that carries orders out works with; built in ``gantry.main.agent``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from gantry.agent.active_disks import ActiveDisks
from gantry.agent.configuration import Configuration
from gantry.agent.events import Listeners
from gantry.agent.facts import Facts
from gantry.agent.ledger import Ledger
from gantry.agent.replica_daemons import ReplicaDaemons
from gantry.agent.transfers import Transfers
from gantry.hypervisors.contract import Hypervisor
from gantry.model.entities import DiskTemplate
from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestLive
from gantry.model.master_orders import MasterSeen
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.osdefs.search import Finder
from gantry.storage.contract import Storage


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The drivers of one node."""

    root: Path
    configuration: Configuration
    hypervisors: Mapping[str, Hypervisor]
    storages: Mapping[DiskTemplate, Storage]
    finder: Finder
    facts: Facts
    listeners: Listeners
    seen: Callable[[], MasterSeen]
    """What is known of masters; whether one waits here is not looked at."""
    ledger: Ledger
    transfers: Transfers
    replicas: ReplicaDaemons
    active: ActiveDisks
    leave: Callable[[], None]
    """Called when the machine has left the cluster."""
    scripts: dict[Uuid, str] = msgspec.field(default_factory=dict)
    """Scripts of OS definitions that work on disks now, by instance."""

    @property
    def node(self) -> str:
        """The node's name, for errors."""
        return self.configuration.name

    def guests(self) -> tuple[GuestLive, ...]:
        """Every guest known, from memory; with the mirrors of disks that are active without it."""
        active = {guest.uuid: guest for guest in self.active.guests()}
        known = [guest for driver in self.hypervisors.values() for guest in driver.guests()]
        mine = [guest if guest.up else active.pop(guest.uuid, guest) for guest in known]
        return (*mine, *active.values())

    def hypervisor(self, name: str) -> Hypervisor:
        """The driver of that name, or Rejected."""
        try:
            return self.hypervisors[name]
        except KeyError:
            raise Rejected(
                f"node {self.node} has no hypervisor {name}",
                f"it has {', '.join(self.hypervisors) or 'none'}",
                reason=Reason.ENVIRONMENT,
                node=self.node,
            ) from None

    def hypervisor_of(self, uuid: Uuid) -> Hypervisor:
        """The driver that knows the guest, or Rejected."""
        for driver in self.hypervisors.values():
            if any(guest.uuid == uuid for guest in driver.guests()):
                return driver
        raise Rejected(
            f"node {self.node} knows no guest {uuid}",
            "see gnt-instance list for where it runs",
            reason=Reason.UNKNOWN,
            node=self.node,
        )

    def storage(self, disk: DiskSpec) -> Storage:
        """The driver of the disk's template, or Rejected."""
        try:
            return self.storages[disk.template]
        except KeyError:
            raise Rejected(
                f"node {self.node} keeps no disks of template {disk.template}",
                reason=Reason.ENVIRONMENT,
                node=self.node,
            ) from None
