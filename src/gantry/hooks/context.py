"""The JSON document that scripts are given beside their variables (``GANTRY_CONTEXT``).

Its schema is ``docs/hooks/context.schema.json``; ``VERSION`` changes with it. There is nothing
secret in it, nor anything private: what a password is read from may be, but no password.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from gantry.hooks.about import names, subject_entity
from gantry.hooks.entry import Phase, Row
from gantry.hooks.subject import Subject
from gantry.model.entities import Entity, Instance, Node
from gantry.model.snapshot import Snapshot

VERSION: Final = 1
_HIDDEN: Final = re.compile(r"private|secret|passw(or)?d$", re.IGNORECASE)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for what. ``parameters`` are the operation's as JSON, ``received`` is a time.

    ``reason`` is a trail of (who, why, nanoseconds since 1970).
    """

    job: int = 0
    operation: int = 0
    operations: int = 1
    requester: str = ""
    reason: tuple[tuple[str, str, int], ...] = ()
    received: float = 0.0
    parameters: dict[str, Any] = {}
    dry_run: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Why an operation did not succeed: a word of ``FailureKind``, and a text for people."""

    kind: str
    message: str


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster and the object of the operation at one time."""

    cluster: Snapshot
    subject: Subject | None


def document(
    row: Row | None,
    code: str,
    phase: Phase,
    asked: Asked,
    before: Moment,
    after: Moment | None = None,
    failed: Failed | None = None,
) -> dict[str, Any]:
    """What a phase's scripts are told, on all nodes alike. ``after``: in all but pre."""
    cluster = before.cluster.cluster
    return {
        "version": VERSION,
        "phase": phase.value,
        "dry_run": asked.dry_run,
        "job": _job(asked),
        "operation": {
            "code": code,
            "names": list(names(row)) if row is not None else [code],
            "parameters": {
                name: value for name, value in _open(asked.parameters).items() if name != "OP_ID"
            },
        },
        "cluster": {
            "name": cluster.name,
            "master": before.cluster.master.name,
            "hooks_version": cluster.hooks_version,
        },
        "object": _object(row, before, after),
        "failure": None if failed is None else {"kind": failed.kind, "message": failed.message},
    }


def _job(asked: Asked) -> dict[str, Any]:
    return {
        "id": asked.job,
        "operation": asked.operation,
        "operations": asked.operations,
        "requester": asked.requester,
        "reason": [
            {"source": source, "text": text, "time": time / 1e9}
            for source, text, time in asked.reason
        ],
        "received": asked.received,
    }


def _object(row: Row | None, before: Moment, after: Moment | None) -> dict[str, Any] | None:
    subject = before.subject
    if row is None or subject is None:
        return None
    was = subject_entity(subject, before.cluster)
    known = was is not None and _kept(was, before.cluster)
    # What an operation is about to make, or to change it into, where it says so.
    planned = subject.chosen or (None if known else was)
    now = planned if after is None else _later(was, after)
    return {
        "type": row.kind.value,
        "name": was.name if was is not None else None,
        "before": _state(was, before.cluster) if known else None,
        "after": _state(now, after.cluster if after is not None else before.cluster),
    }


def _kept(entity: Entity, cluster: Snapshot) -> bool:
    """Whether the configuration has it."""
    tables = (cluster.instances, cluster.nodes, cluster.groups)
    return entity.uuid == cluster.cluster.uuid or any(entity.uuid in table for table in tables)


def _later(was: Entity | None, after: Moment) -> Entity | None:
    """The same object afterwards; None where it is gone."""
    cluster = after.cluster
    if was is not None:
        for table in (cluster.instances, cluster.nodes, cluster.groups):
            if was.uuid in table:
                return table[was.uuid]
        return cluster.cluster if was.uuid == cluster.cluster.uuid else None
    found = subject_entity(after.subject, cluster) if after.subject is not None else None
    return found if found is not None and _kept(found, cluster) else None


def _state(entity: Entity | None, cluster: Snapshot) -> dict[str, Any] | None:
    """An object as JSON, with names in the place of the uuids of others."""
    if entity is None:
        return None
    found: dict[str, Any] = _open(msgspec.to_builtins(entity))
    if isinstance(entity, Instance):
        nodes = cluster.nodes
        found["primary_node"] = _name(nodes, entity.primary_node)
        found["secondary_nodes"] = [_name(nodes, uuid) for uuid in entity.secondary_nodes]
    elif isinstance(entity, Node):
        found["group"] = _name(cluster.groups, entity.group)
    elif "master_node" in found:
        found["master_node"] = _name(cluster.nodes, found["master_node"])
    return found


def _name(table: Any, uuid: str) -> str:
    return str(table[uuid].name) if uuid in table else uuid


def _open(value: dict[str, Any]) -> dict[str, Any]:
    """Without what is not everybody's."""
    return {
        key: _open(each) if isinstance(each, dict) else each
        for key, each in value.items()
        if not _HIDDEN.search(key)
    }
