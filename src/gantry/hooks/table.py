"""The one place that says which operation runs which scripts on which nodes.

Version 1 is the founding document's (hook interface, table 1), version 2 is what scripts in
the field know. An operation without an entry in ``ROWS`` runs no scripts.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from gantry.hooks.subject import SubjectKind
from gantry.model.errors import GantryError


class Phase(enum.StrEnum):
    """Before or after; the value is the directory's suffix without ``.d``."""

    PRE = "pre"
    POST = "post"


class Where(enum.StrEnum):
    """Sets of nodes."""

    NOWHERE = "none"
    MASTER = "the master"
    INSTANCE = "the master, the instance's primary and secondary nodes, and a target node"
    ALL = "all nodes"
    OTHERS = "all nodes but the one that the operation is about"
    OTHERS_AND_NODE = "all nodes and the one that the operation is about"
    MASTER_AND_NODE = "the master and the node that the operation is about"


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """An operation in version 1."""

    prefix: str
    op_id: str
    pre: Where
    post: Where


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An operation: ``code`` is its name in version 2, ``seed`` what version 1 says of it.

    ``node_variables`` are those of NODE_NAME, NODE_PIP and NODE_SIP that are sent;
    ``target``: whether OP_TARGET is; ``tags``: whether CLUSTER_TAGS and NODE_TAGS_… are.
    ``own`` names the variables of ``Subject.values``, for the documentation and its test.
    ``leaving``: in version 2 the post scripts also run on the node that is removed.
    """

    opcode: str
    kind: SubjectKind
    prefix: str
    pre: Where
    post: Where
    code: str
    seed: Seed | None = None
    node_variables: tuple[str, ...] = ()
    target: bool = True
    tags: bool = False
    own: tuple[str, ...] = ()
    leaving: bool = False


def _row(
    opcode: str,
    kind: SubjectKind,
    prefix: str,
    pre: Where,
    post: Where,
    seed: Seed | None = None,
    *,
    code: str = "",
    node_variables: tuple[str, ...] = (),
    target: bool = True,
    tags: bool = False,
    own: tuple[str, ...] = (),
    leaving: bool = False,
) -> Row:
    return Row(
        opcode=opcode,
        kind=kind,
        prefix=prefix,
        pre=pre,
        post=post,
        code=code or opcode,
        seed=seed,
        node_variables=node_variables,
        target=target,
        tags=tags,
        own=own,
        leaving=leaving,
    )


def _seed(prefix: str, op_id: str, pre: Where, post: Where | None = None) -> Seed:
    return Seed(prefix=prefix, op_id=op_id, pre=pre, post=pre if post is None else post)


_CLUSTER, _NODE, _INSTANCE = SubjectKind.CLUSTER, SubjectKind.NODE, SubjectKind.INSTANCE
_W = Where

ROWS: Final[dict[str, Row]] = {
    row.opcode: row
    for row in (
        _row(
            "OP_CLUSTER_POST_INIT",
            _CLUSTER,
            "cluster-init",
            _W.NOWHERE,
            _W.MASTER,
            _seed("cluster-init", "OP_INIT_CLUSTER", _W.MASTER),
        ),
        _row("OP_CLUSTER_DESTROY", _CLUSTER, "cluster-destroy", _W.NOWHERE, _W.MASTER),
        _row(
            "OP_CLUSTER_SET_PARAMS",
            _CLUSTER,
            "cluster-modify",
            _W.MASTER,
            _W.MASTER,
            own=("NEW_VG_NAME",),
        ),
        _row(
            "OP_CLUSTER_VERIFY",
            _CLUSTER,
            "cluster-verify",
            _W.NOWHERE,
            _W.ALL,
            _seed("cluster-verify", "OP_CLUSTER_VERIFY", _W.NOWHERE, _W.ALL),
            code="OP_CLUSTER_VERIFY_GROUP",
            target=False,
            tags=True,
        ),
        _row(
            "OP_NODE_ADD",
            _NODE,
            "node-add",
            _W.OTHERS,
            _W.OTHERS_AND_NODE,
            _seed("node-add", "OP_ADD_NODE", _W.OTHERS, _W.OTHERS_AND_NODE),
            node_variables=("NODE_NAME", "NODE_PIP", "NODE_SIP"),
            own=("MASTER_CAPABLE", "VM_CAPABLE"),
        ),
        _row(
            "OP_NODE_REMOVE",
            _NODE,
            "node-remove",
            _W.OTHERS,
            _W.OTHERS,
            _seed("node-remove", "OP_REMOVE_NODE", _W.OTHERS),
            node_variables=("NODE_NAME",),
            leaving=True,
        ),
        _row(
            "OP_NODE_SET_PARAMS",
            _NODE,
            "node-modify",
            _W.MASTER_AND_NODE,
            _W.MASTER_AND_NODE,
            own=("MASTER_CANDIDATE", "OFFLINE", "DRAINED", "MASTER_CAPABLE", "VM_CAPABLE"),
        ),
        _row(
            "OP_INSTANCE_CREATE",
            _INSTANCE,
            "instance-add",
            _W.INSTANCE,
            _W.INSTANCE,
            _seed("instance-add", "OP_INSTANCE_ADD", _W.INSTANCE),
            own=("ADD_MODE",),
        ),
        _row(
            "OP_INSTANCE_STARTUP",
            _INSTANCE,
            "instance-start",
            _W.INSTANCE,
            _W.INSTANCE,
            _seed("instance-start", "OP_INSTANCE_START", _W.INSTANCE),
            own=("FORCE",),
        ),
        _row(
            "OP_INSTANCE_SHUTDOWN",
            _INSTANCE,
            "instance-stop",
            _W.INSTANCE,
            _W.INSTANCE,
            _seed("instance-shutdown", "OP_INSTANCE_SHUTDOWN", _W.INSTANCE),
            own=("TIMEOUT",),
        ),
        _row(
            "OP_INSTANCE_REBOOT",
            _INSTANCE,
            "instance-reboot",
            _W.INSTANCE,
            _W.INSTANCE,
            own=("IGNORE_SECONDARIES", "REBOOT_TYPE", "SHUTDOWN_TIMEOUT"),
        ),
        _row(
            "OP_INSTANCE_SET_PARAMS",
            _INSTANCE,
            "instance-modify",
            _W.INSTANCE,
            _W.INSTANCE,
            _seed("instance-modify", "OP_INSTANCE_MODIFY", _W.INSTANCE),
        ),
        _row(
            "OP_INSTANCE_REMOVE",
            _INSTANCE,
            "instance-remove",
            _W.MASTER,
            _W.INSTANCE,
            _seed("instance-remove", "OP_INSTANCE_REMOVE", _W.MASTER),
            own=("SHUTDOWN_TIMEOUT",),
        ),
    )
}

CONFIG_UPDATE: Final = "config-update"
"""The special directory that runs on the master after every change of the configuration."""


def row(opcode: str) -> Row:
    """The entry of an operation; GantryError where it has none (a fault of ours)."""
    found = ROWS.get(opcode)
    if found is None:
        raise GantryError(f"operation {opcode} has no entry in the table of hooks")
    return found
