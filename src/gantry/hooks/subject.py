"""What an operation hands over so that its hooks can be told: values, no decisions."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from gantry.model.entities import Instance, Node
from gantry.model.names import Uuid


class SubjectKind(enum.StrEnum):
    """``GANETI_OBJECT_TYPE``."""

    CLUSTER = "CLUSTER"
    NODE = "NODE"
    GROUP = "GROUP"
    INSTANCE = "INSTANCE"
    NETWORK = "NETWORK"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The object that an operation is about, at one moment.

    ``values`` are the operation's own variables under their version 2 names, without
    ``GANETI_``, as Python values: a script sees ``str()`` of them. ``seed_values`` replaces
    some of them in version 1; None there means that version 1 does not send the variable.
    ``extra_nodes`` are the target nodes of the operation, or the nodes of its group;
    ``group``: cluster-verify looks at this one group.
    """

    kind: SubjectKind
    instance: Instance | None = None
    node: Node | None = None
    values: dict[str, Any] = {}
    seed_values: dict[str, Any] = {}
    extra_nodes: tuple[Uuid, ...] = ()
    group: Uuid | None = None
    status: str | None = None
    """Instead of the admin state: instance-add sends its start flag."""
    new_disks: bool = False
    """The disks are not made yet: they have neither uuid nor path."""
    chosen: Instance | None = None
    """instance-modify: memory, vcpus and NICs shown are the ones of the change, in pre too."""
