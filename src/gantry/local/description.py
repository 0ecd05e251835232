"""What a local cluster is: the file ``local.json`` in its directory, read and written whole.

Everything else about it is derived from this and from what really runs. No process is
started or looked at here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from gantry.model.errors import OperationFailed, Reason, Rejected

FILE: Final = "local.json"
VERSION: Final = 1
DOMAIN: Final = "gantry.test"
"""A domain that never resolves (RFC 6761)."""
CLUSTER: Final = f"cluster.{DOMAIN}"
MOST_NODES: Final = 99
MOST_SIMULATED: Final = 250
"""As many as a block has addresses for, which is one of their own."""
CREW: Final = 25
"""Simulated nodes whose agents share a process: each script that it starts costs it, and the
script, something for every file that they all have open."""
AGENT_PORT: Final = 1811
API_PORT: Final = 5080
ETCD_PORT: Final = 2379
"""Its members listen to each other on the next one."""
STORE_MEMBERS: Final = 3
SQLITE: Final = "sqlite"
ETCD: Final = "etcd"


class LocalNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``member`` once the cluster has it for certain."""

    number: int
    member: bool = False

    @property
    def name(self) -> str:
        """Its full name."""
        return f"node{self.number}.{DOMAIN}"

    @property
    def label(self) -> str:
        """Its name without the domain: also that of its root in the cluster's directory."""
        return f"node{self.number}"


class SimulatedNode(LocalNode, frozen=True, kw_only=True):
    """A node whose agent shares a process with those of others."""

    @property
    def name(self) -> str:
        """Its full name."""
        return f"{self.label}.{DOMAIN}"

    @property
    def label(self) -> str:
        """Its name without the domain, and that of its root."""
        return f"sim{self.number}"

    @property
    def crew(self) -> Crew:
        """Where its agent runs."""
        return Crew(number=1 + (self.number - 1) // CREW)


class Crew(LocalNode, frozen=True, kw_only=True):
    """A process with the agents of simulated nodes. It has a root, and is no node itself."""

    @property
    def label(self) -> str:
        """What its root is called."""
        return f"simulation{self.number}"


class StoreMember(LocalNode, frozen=True, kw_only=True):
    """A member of the store's etcd. It has a root, and is no node itself."""

    @property
    def label(self) -> str:
        """What its root is called."""
        return f"etcd{self.number}"


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A local cluster. ``block`` is the first three numbers of its addresses."""

    version: int = VERSION
    block: str
    nodes: tuple[LocalNode, ...]
    hypervisors: tuple[str, ...] = ("kvm", "fake")
    store: str = SQLITE
    kernel: bool = True
    """Whether guests get a kernel from us."""
    hooks_version: int = 1
    kernel_set: bool = False
    simulated: tuple[SimulatedNode, ...] = ()
    simulated_block: str = ""
    """That of the simulated nodes' addresses."""
    resting: bool = False
    """Taken down with its guests: ``up`` lets supervision start again what should be up."""

    @property
    def initialised(self) -> bool:
        """Whether the first node has the cluster's state."""
        return bool(self.nodes) and self.nodes[0].member

    def primary(self, node: LocalNode) -> str:
        """A node's address."""
        block = self.simulated_block if isinstance(node, SimulatedNode) else self.block
        return f"{block}.{node.number}"

    def secondary(self, node: LocalNode) -> str:
        """A node's other address, for data between nodes; simulated ones have only one."""
        if isinstance(node, SimulatedNode):
            return self.primary(node)
        return f"{self.block}.{100 + node.number}"

    @property
    def store_members(self) -> tuple[StoreMember, ...]:
        """Those of etcd; none where the state is a file."""
        if self.store != ETCD:
            return ()
        return tuple(StoreMember(number=number) for number in range(1, STORE_MEMBERS + 1))

    def store_address(self, member: StoreMember) -> str:
        """Where a member of the store listens."""
        return f"{self.block}.{200 + member.number}"

    def store_url(self, member: StoreMember) -> str:
        """Where it listens to clients."""
        return f"https://{self.store_address(member)}:{ETCD_PORT}"

    def store_peer_url(self, member: StoreMember) -> str:
        """Where it listens to other members."""
        return f"https://{self.store_address(member)}:{ETCD_PORT + 1}"

    @property
    def crews(self) -> tuple[Crew, ...]:
        """All processes that run agents of simulated nodes."""
        return tuple(dict.fromkeys(node.crew for node in self.simulated))

    @property
    def blocks(self) -> frozenset[str]:
        """Its blocks of addresses."""
        return frozenset({self.block, self.simulated_block} - {""})

    def with_node(self, node: LocalNode) -> Description:
        """The same, with this node changed, or added."""
        others = [one for one in self.nodes if one.number != node.number]
        return msgspec.structs.replace(
            self, nodes=tuple(sorted([*others, node], key=lambda one: one.number))
        )


class _Version(msgspec.Struct):
    version: int


def load(directory: Path) -> Description | None:
    """The cluster in ``directory``; None where there is none; Rejected where it is unreadable."""
    try:
        content = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Rejected(
            f"you may not read {directory / FILE}",
            "the cluster there is another user's: run this as that user",
            reason=Reason.ENVIRONMENT,
        ) from error
    except OSError as error:
        raise _unreadable(directory, error.strerror or str(error)) from error
    try:
        version = msgspec.json.decode(content, type=_Version).version
        if version != VERSION:
            raise Rejected(
                f"{directory / FILE} has version {version}, this program reads {VERSION}",
                "another version of Gantry made this cluster: use that one",
                reason=Reason.STATE,
            )
        return msgspec.json.decode(content, type=Description)
    except msgspec.MsgspecError as error:
        raise _unreadable(directory, str(error)) from error


def required(directory: Path) -> Description:
    """The cluster in ``directory``; Rejected where there is none."""
    found = load(directory)
    if found is None:
        raise Rejected(
            f"there is no local cluster in {directory}",
            f"make one: gantry local up --dir {directory}",
            reason=Reason.UNKNOWN,
        )
    return found


def save(directory: Path, description: Description) -> None:
    """Replace the file at once: a reader, or a crash, meets the old or the new one."""
    content = msgspec.json.format(msgspec.json.encode(description), indent=2) + b"\n"
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".local.", dir=directory)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(directory / FILE)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True) if temporary else None
        raise OperationFailed(
            f"cannot write {directory / FILE}: {error.strerror}",
            "check the directory's rights and its free space",
            reason=Reason.ENVIRONMENT,
        ) from error


def _unreadable(directory: Path, why: str) -> Rejected:
    return Rejected(
        f"{directory / FILE} cannot be read: {why}",
        "bring it back from a copy, or choose another directory; the nodes' files are beside it",
        reason=Reason.STATE,
    )
