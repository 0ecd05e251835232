"""Machines in network namespaces of their own, with the real hypervisor: a cluster to measure.

They reach each other over a bridge, and share the directory of shared disks. Needs root.
Commands run outside, against the master's socket, so that no namespace is entered for them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import namespaces
from tests.support.cluster import short_directory
from tests.support.guest_kernel import made_guest_kernel
from tests.support.namespaces import Machine

from gantry.local import kernel
from gantry.model.entities import DiskTemplate

TEMPLATES = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.DISKLESS)
_SHARED = "srv/ganeti/shared-file-storage"


class Machines:
    """A cluster that is up, with its master on the first of ``nodes``."""

    def __init__(self, nodes: list[Machine], shared: Path) -> None:
        self.nodes = nodes
        self.shared = shared
        """The directory of shared disks."""

    @property
    def environment(self) -> dict[str, str]:
        """Of commands."""
        return self.nodes[0].environment()

    @staticmethod
    def program(name: str) -> str:
        """The path of one of the programs."""
        return str(Path(sys.executable).with_name(name))

    def logs(self, name: str) -> list[Path]:
        """The logs of a guest's console, on all nodes."""
        return [node.root / f"var/log/gantry/console/{name}.log" for node in self.nodes]


@contextlib.contextmanager
def machines(count: int) -> Iterator[Machines]:
    """So many; OS busybox has a kernel for its guests."""
    found = made_guest_kernel()
    with short_directory() as shared, namespaces.machines(count) as nodes:
        first, *others = nodes
        for node in nodes:
            (node.root / _SHARED).symlink_to(shared)
        first.must(
            "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
            "--enabled-hypervisors", "kvm", "--enabled-disk-templates", ",".join(TEMPLATES),
            "--no-name-check", "--no-ip-check", "cluster.example.com",
        )  # fmt: skip
        first.start("agent")
        first.start("master")
        for node in others:
            token = first.must("gantry", "token", node.name)
            node.must("gantry", "join", "--address", node.address, stdin=token)
            node.start("agent")
            first.must("gnt-node", "add", node.name)
        given = f"kernel_path={found.kernel},initrd_path={found.initrd},root_path=/dev/vda"
        first.must("gnt-os", "modify", "-H", f"kvm:{given},kernel_args={kernel.ARGUMENTS}",
                   kernel.OS)  # fmt: skip
        yield Machines(nodes, shared)
