"""Which directories run on which nodes, with which environments: one answer for a phase."""

from __future__ import annotations

import msgspec

from gantry.hooks import environment
from gantry.hooks.subject import Subject
from gantry.hooks.table import CONFIG_UPDATE, ROWS, Phase, Row, Where, row
from gantry.model.names import Uuid
from gantry.model.orders import HookDirectory
from gantry.model.snapshot import Snapshot


class NodeRun(msgspec.Struct, frozen=True, kw_only=True):
    """What runs on one node. ``environments`` is by interface version, ``"1"`` or ``"2"``."""

    node: Uuid
    directories: tuple[HookDirectory, ...]
    environments: dict[str, dict[str, str]]
    main_version: int


class _Directory(msgspec.Struct, frozen=True):
    prefix: str
    version: int
    where: Where


def phase_runs(
    opcode: str,
    phase: Phase,
    before: Snapshot,
    subject: Subject,
    after: Snapshot | None = None,
    subject_after: Subject | None = None,
) -> tuple[NodeRun, ...]:
    """The runs of a phase, a node at most once, offline nodes left out.

    ``before`` and ``subject`` are as they were when the operation was checked; in post
    ``after`` and ``subject_after`` are as it left them.
    """
    entry = row(opcode)
    main = before.cluster.hooks_version
    directories = _directories(entry, phase, main)
    environments = {
        str(directory.version): _environment(
            entry, directory, phase, before, subject, after, subject_after
        )
        for directory in directories
    }
    by_node: dict[Uuid, list[HookDirectory]] = {}
    for directory in directories:
        named = HookDirectory(name=f"{directory.prefix}-{phase.value}.d", version=directory.version)
        nodes = _nodes(directory.where, subject, before)
        if entry.leaving and phase is Phase.POST and directory.version == 2 and subject.node:
            nodes = [subject.node.uuid, *nodes]
        for node in nodes:
            by_node.setdefault(node, []).append(named)
    return tuple(
        NodeRun(
            node=node,
            directories=tuple(named),
            environments={str(one.version): environments[str(one.version)] for one in named},
            main_version=main,
        )
        for node, named in by_node.items()
        if not _offline(node, before, after)
    )


def config_update(opcode: str, before: Snapshot, subject: Subject | None) -> NodeRun:
    """The run on the master after any operation that changed the configuration."""
    entry = ROWS.get(opcode)
    version = before.cluster.hooks_version
    code = entry.code if entry is not None else opcode
    variables = environment.operation(entry, subject, version, before) if entry and subject else {}
    common = environment.common(entry, version, Phase.POST, CONFIG_UPDATE, code, before)
    return NodeRun(
        node=before.cluster.master_node,
        directories=(HookDirectory(name=f"{CONFIG_UPDATE}-post.d", version=version),),
        environments={str(version): environment.complete(common, variables, None)},
        main_version=version,
    )


def _directories(entry: Row, phase: Phase, main: int) -> list[_Directory]:
    """The directories of a phase; one that only one version knows is always read."""
    mine = _Directory(entry.prefix, 2, entry.pre if phase is Phase.PRE else entry.post)
    if entry.seed is None:
        found = [_Directory(mine.prefix, main, mine.where)]
    else:
        where = entry.seed.pre if phase is Phase.PRE else entry.seed.post
        seeds = _Directory(entry.seed.prefix, 1, where)
        if seeds.prefix != mine.prefix or Where.NOWHERE in (seeds.where, mine.where):
            found = [seeds, mine]
        else:
            found = [seeds if main == 1 else mine]
    return [directory for directory in found if directory.where is not Where.NOWHERE]


def _environment(
    entry: Row,
    directory: _Directory,
    phase: Phase,
    before: Snapshot,
    subject: Subject,
    after: Snapshot | None,
    subject_after: Subject | None,
) -> dict[str, str]:
    version = directory.version
    common = environment.common(entry, version, phase, directory.prefix, entry.code, before)
    mine = environment.operation(entry, subject, version, before)
    if phase is Phase.PRE or after is None or subject_after is None:
        return environment.complete(common, mine, None)
    # An object that the operation removed is described by what it was.
    later = environment.operation(entry, subject_after, version, after)
    return environment.complete(common, mine, later)


def _nodes(where: Where, subject: Subject, cluster: Snapshot) -> list[Uuid]:
    master = cluster.cluster.master_node
    own = subject.node.uuid if subject.node is not None else None
    others = [uuid for uuid in cluster.nodes if uuid != own]
    instance = [master, *subject.extra_nodes]
    if subject.instance is not None:
        instance[1:1] = [subject.instance.primary_node, *subject.instance.secondary_nodes]
    node = [own] if own else []
    found = {
        Where.NOWHERE: [],
        Where.MASTER: [master],
        Where.INSTANCE: instance,
        Where.ALL: list(cluster.nodes),
        Where.OTHERS: others,
        Where.OTHERS_AND_NODE: others + node,
        Where.MASTER_AND_NODE: [master, *node],
    }[where]
    return list(dict.fromkeys(found))


def _offline(node: Uuid, before: Snapshot, after: Snapshot | None) -> bool:
    """As the operation left it; a node that it removed is as it was, one it adds is there."""
    entity = (after.nodes.get(node) if after else None) or before.nodes.get(node)
    return entity is not None and entity.offline
