"""Which directories run on which nodes, with which environments: one answer for a phase."""

from __future__ import annotations

from typing import Any

import msgspec

from gantry.hooks import environment
from gantry.hooks.about import about
from gantry.hooks.entry import Phase, Row, Where
from gantry.hooks.subject import Subject
from gantry.hooks.table import CONFIG_UPDATE, ROWS, row
from gantry.model.hook_orders import HookAbout, HookDirectory
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot


class NodeRun(msgspec.Struct, frozen=True, kw_only=True):
    """What runs on one node. ``environments`` is by interface version, ``"1"`` and ``"2"``.

    Both are always there: a node's policy may choose the other version for a script.
    """

    node: Uuid
    directories: tuple[HookDirectory, ...]
    environments: dict[str, dict[str, str]]
    main_version: int
    about: HookAbout


class Read(msgspec.Struct, frozen=True):
    """A directory that a phase reads: in which version, and on which nodes."""

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
    ``after`` and ``subject_after`` are as it left them. An operation that failed left nothing:
    a node that it would have added hears nothing of it.
    """
    entry = row(opcode)
    later = (after, subject_after) if after is not None and subject_after is not None else None
    told = _Told(entry, phase, (before, subject), later if phase is Phase.POST else None)
    both = [Read(entry.directory(one), one, entry.where(phase, one)) for one in (1, 2)]
    conditions = about(entry, opcode, subject, before)
    return tuple(
        NodeRun(
            node=node,
            directories=tuple(
                HookDirectory(name=f"{one.prefix}-{phase.value}.d", version=one.version)
                for one in found
            ),
            environments={
                str(one.version): told.variables(one, _group(entry, one, node, before))
                for one in both
            },
            main_version=before.cluster.hooks_version,
            about=conditions,
        )
        for node, found in _by_node(entry, phase, before, subject, after).items()
    )


def failure_runs(
    opcode: str, before: Snapshot, subject: Subject, first_master: Uuid | None
) -> tuple[NodeRun, ...]:
    """The runs of a failure; also on the node whose scripts ran as those of an earlier master."""
    runs = phase_runs(opcode, Phase.FAIL, before, subject)
    if first_master is None or first_master not in before.nodes:
        return runs
    then = msgspec.structs.replace(before.cluster, master_node=first_master)
    earlier = before.with_changes(before.revision, [then])
    more = phase_runs(opcode, Phase.FAIL, earlier, subject)
    told = {run.node for run in runs}
    return (*runs, *(run for run in more if run.node not in told))


def _by_node(
    entry: Row, phase: Phase, before: Snapshot, subject: Subject, after: Snapshot | None
) -> dict[Uuid, list[Read]]:
    """What each node reads."""
    found: dict[Uuid, list[Read]] = {}
    for directory in directories_of(entry, phase, before.cluster.hooks_version):
        for node in _reached(entry, directory, phase, subject, before):
            missing = phase is Phase.FAIL and node not in before.nodes
            if not missing and not _offline(node, before, after):
                found.setdefault(node, []).append(directory)
    return found


class _Told:
    """Environments: the same on all nodes, but for what is told group by group."""

    def __init__(
        self,
        entry: Row,
        phase: Phase,
        before: tuple[Snapshot, Subject],
        after: tuple[Snapshot, Subject] | None,
    ) -> None:
        self._entry = entry
        self._phase = phase
        self._before = before
        self._after = after
        self._values: dict[tuple[int, Uuid | None], dict[str, Any]] = {}
        self._made: dict[tuple[Read, Uuid | None], dict[str, str]] = {}

    def variables(self, directory: Read, group: Uuid | None) -> dict[str, str]:
        """The whole environment of scripts of that directory."""
        found = self._made.get((directory, group))
        if found is None:
            entry, version = self._entry, directory.version
            common = environment.common(
                entry, version, self._phase, directory.prefix, entry.op_code, self._before[0]
            )
            mine = self._of(self._before, version, group)
            later = self._of(self._after, version, group) if self._after is not None else None
            found = environment.complete(common, mine, later)
            self._made[directory, group] = found
        return found

    def _of(
        self, moment: tuple[Snapshot, Subject], version: int, group: Uuid | None
    ) -> dict[str, str]:
        """Versions differ in little: most is found out once for both."""
        cluster, subject = moment
        key = (id(moment), group)
        if key not in self._values:
            self._values[key] = environment.values(self._entry, subject, cluster, group)
        return environment.in_version(self._entry, subject, version, self._values[key])


def config_update(opcode: str, before: Snapshot, subject: Subject | None) -> NodeRun:
    """The run on the master after any operation that changed the configuration."""
    entry = ROWS.get(opcode)
    version = before.cluster.hooks_version
    code = entry.op_code if entry is not None else opcode

    def variables(version: int) -> dict[str, str]:
        own = environment.operation(entry, subject, version, before) if entry and subject else {}
        common = environment.common(entry, version, Phase.POST, CONFIG_UPDATE, code, before)
        return environment.complete(common, own, None)

    return NodeRun(
        node=before.cluster.master_node,
        directories=(HookDirectory(name=f"{CONFIG_UPDATE}-post.d", version=version),),
        environments={str(one): variables(one) for one in (1, 2)},
        main_version=version,
        about=about(entry, code, subject, before),
    )


def directories_of(entry: Row, phase: Phase, main: int) -> list[Read]:
    """The directories of a phase, each read in one version.

    An operation that has one name in each version has both of its directories read.
    """
    versions = (1, 2) if entry.directory(1) != entry.directory(2) else (main,)
    found = [
        Read(entry.directory(version), version, entry.where(phase, version)) for version in versions
    ]
    return [directory for directory in found if directory.where is not Where.NOWHERE]


def _reached(
    entry: Row, directory: Read, phase: Phase, subject: Subject, before: Snapshot
) -> list[Uuid]:
    nodes = _nodes(directory.where, subject, before)
    if entry.leaving and phase is not Phase.PRE and directory.version == 2 and subject.node:
        nodes = [subject.node.uuid, *nodes]
    if entry.grouped and directory.version == 2 and subject.group:
        nodes = [uuid for uuid in nodes if before.nodes[uuid].group == subject.group]
    return nodes


def _group(entry: Row, directory: Read, node: Uuid, before: Snapshot) -> Uuid | None:
    """The group whose run this is on ``node``; None where the operation runs once for all."""
    return before.nodes[node].group if entry.grouped and directory.version == 2 else None


def _nodes(where: Where, subject: Subject, cluster: Snapshot) -> list[Uuid]:
    master, targets = [cluster.cluster.master_node], list(subject.extra_nodes)
    node = [subject.node.uuid] if subject.node is not None else []
    others = [uuid for uuid in cluster.nodes if uuid not in node]
    primary = [subject.instance.primary_node] if subject.instance is not None else []
    secondaries = list(subject.instance.secondary_nodes) if subject.instance is not None else []
    found = {
        Where.NOWHERE: [],
        Where.MASTER: master,
        Where.INSTANCE: master + primary + secondaries,
        Where.INSTANCE_AND_TARGET: master + primary + secondaries + targets,
        Where.PRIMARY_AND_TARGET: master + primary + targets,
        Where.SECONDARIES_AND_TARGET: master + secondaries + targets,
        Where.TARGET: targets,
        Where.ALL: list(cluster.nodes),
        Where.OTHERS: others,
        Where.OTHERS_AND_NODE: others + node,
        Where.MASTER_AND_NODE: master + node,
        Where.MASTER_AND_MEMBERS: master + targets,
        Where.MEMBERS: targets,
    }[where]
    return list(dict.fromkeys(found))


def _offline(node: Uuid, before: Snapshot, after: Snapshot | None) -> bool:
    """As the operation left it; a node that it removed is as it was, one it adds is there."""
    entity = (after.nodes.get(node) if after else None) or before.nodes.get(node)
    return entity is not None and entity.offline
