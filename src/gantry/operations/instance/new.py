"""What the operations that make an instance are told alike."""

from __future__ import annotations

from typing import TypeVar

from gantry.model.entities import ParameterValue
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Operation, Plan
from gantry.operations.steps import installing, moving, requests

P = TypeVar("P", bound=Plan)


class NewInstance(Operation[P], frozen=True, kw_only=True):
    """Parameters as in Ganeti's OP_INSTANCE_CREATE; secret OS parameters travel beside it."""

    instance_name: str
    disk_template: str | None = None
    disks: tuple[requests.DiskRequest, ...] = ()
    pnode: str | None = None
    snode: str | None = None
    snodes: tuple[str, ...] = ()
    """Further secondary nodes (template mirror), after ``snode``."""
    iallocator: str | None = None
    group_name: str | None = None
    os_type: str | None = None
    hypervisor: str | None = None
    hvparams: dict[str, ParameterValue] = {}
    beparams: dict[str, ParameterValue] = {}
    osparams: dict[str, str] = {}
    osparams_private: dict[str, str] = {}
    file_driver: str | None = None
    file_storage_dir: str | None = None
    force_variant: bool = False
    name_check: bool | None = None
    ip_check: bool | None = None
    conflicts_check: bool = True
    tags: tuple[str, ...] = ()
    wait_for_sync: bool = True
    ignore_ipolicy: bool = False
    opportunistic_locking: bool = False
    helper_startup_timeout: int | None = None
    helper_shutdown_timeout: int | None = None

    def summary(self) -> str:
        return f"INSTANCE_CREATE({self.instance_name})"

    @property
    def secondaries(self) -> tuple[str, ...]:
        """The names of all secondary nodes that were given."""
        return (*((self.snode,) if self.snode else ()), *self.snodes)

    @property
    def patience(self) -> installing.Patience:
        """How long a guest that installs it may take."""
        return installing.Patience(
            startup=self.helper_startup_timeout, shutdown=self.helper_shutdown_timeout
        )

    def check_place(self, cluster: Snapshot) -> None:
        """What was said of where it is to be makes sense, or Rejected."""
        moving.no_allocator(self.iallocator)
        if self.group_name:
            cluster.group(self.group_name)
