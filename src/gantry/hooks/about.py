"""What a policy's conditions are compared with: the names of an operation and of its object."""

from __future__ import annotations

from gantry.hooks.entry import Row
from gantry.hooks.subject import Subject
from gantry.model.entities import Entity, Node
from gantry.model.hook_orders import HookAbout
from gantry.model.snapshot import Snapshot


def about(row: Row | None, code: str, subject: Subject | None, cluster: Snapshot) -> HookAbout:
    """Of an operation that is called ``code`` and has that entry in the table, if any."""
    found = (code,) if row is None else names(row)
    if subject is None:
        return HookAbout(operations=found)
    entity = subject_entity(subject, cluster)
    groups = {node.group for node in _nodes(subject, cluster)}
    if subject.group is not None:
        groups.add(subject.group)
    named = [cluster.groups[uuid].name for uuid in groups if uuid in cluster.groups]
    if subject.kind == "GROUP" and entity is not None:
        named.append(entity.name)
    return HookAbout(
        operations=found,
        tags=entity.tags if entity is not None else (),
        groups=tuple(sorted(set(named))),
        instances=(subject.instance.name,) if subject.instance is not None else (),
    )


def names(row: Row) -> tuple[str, ...]:
    """All names of an operation: its codes and its prefixes, in both versions, and our own."""
    found = (row.op_code, row.op_id, row.directory(2), row.directory(1), row.opcode)
    return tuple(dict.fromkeys(found))


def subject_entity(subject: Subject, cluster: Snapshot) -> Entity | None:
    """The object itself; None where it is not one that is kept (a network, a new group)."""
    if subject.instance is not None:
        return subject.instance
    if subject.node is not None:
        return subject.node
    match subject.kind:
        case "CLUSTER":
            return cluster.cluster
        case "GROUP":
            wanted = subject.values.get("GROUP_NAME") or subject.values.get("OLD_NAME")
            found = [one for one in cluster.groups.values() if one.name == wanted]
            return found[0] if found else None
        case _:
            return None


def _nodes(subject: Subject, cluster: Snapshot) -> list[Node]:
    if subject.node is not None:
        return [subject.node]
    if subject.instance is not None and subject.instance.primary_node in cluster.nodes:
        return [cluster.nodes[subject.instance.primary_node]]
    return []
