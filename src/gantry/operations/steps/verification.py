"""What ``gnt-cluster verify`` finds: pure functions of the snapshot and of the nodes' words.

Error codes are those that monitoring scripts of Ganeti's users know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gantry.hooks import verdict
from gantry.hooks.verdict import NodeScripts
from gantry.model import rollout
from gantry.model.bundles import os_name
from gantry.model.candidate_orders import OWN_FILES
from gantry.model.entities import AdminState, Instance, Node
from gantry.model.errors import Unavailable
from gantry.model.live import GuestLive, NodeFacts
from gantry.model.names import Uuid
from gantry.model.orders import Inspection
from gantry.model.oses import combine, complaints
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import candidates, moving, ownership, redundancy
from gantry.operations.steps.finding import Finding as Finding
from gantry.operations.steps.ownership import Owned

CODES: Final = frozenset(
    {
        "ECLUSTERCFG",
        "ECLUSTERCERT",
        "ECLUSTERDANGLINGNODES",
        "ECLUSTERDANGLINGINST",
        "EINSTANCEBADNODE",
        "EINSTANCEDOWN",
        "EINSTANCEFAULTYDISK",
        "EINSTANCEMISSINGDISK",
        "EINSTANCEWRONGNODE",
        "ENODEFILESTORAGEPATHS",
        "ENODEFILECHECK",
        "ENODEHOOKS",
        "ENODEHV",
        "ENODEN1",
        "ENODENET",
        "ENODEOOBPATH",
        "ENODEORPHANINSTANCE",
        "ENODEORPHANLV",
        "ENODEOS",
        "ENODERPC",
        "ENODESETUP",
        "ENODETIME",
        "ENODEVERSION",
    }
)
MOST: Final = 1000
_SKEW: Final = 150.0
_DAY: Final = 86400.0
_WARN_DAYS: Final = 30
_ERROR_DAYS: Final = 7
_FRESH: Final = 60.0
"""Seconds after a change of a node in which the files of a master are on their way."""


def scripts(nodes: Iterable[NodeScripts]) -> Iterator[Finding]:
    """The site's own checks (post scripts) that failed, and nodes that could not run theirs."""
    for node in nodes:
        if node.problem:
            message = f"Communication failure in hooks execution: {node.problem}"
            yield Finding(code="ENODEHOOKS", kind="node", item=node.node, message=message)
        for one in verdict.failures([node]):
            yield Finding(
                code="ENODEHOOKS",
                kind="node",
                item=node.node,
                message=f"Script {one.script} failed, output:",
                details=(one.said,),
            )


def shortened(found: list[Finding]) -> list[Finding]:
    """At most ``MOST`` findings, errors first among those kept: a plan has its limit of bytes."""
    if len(found) <= MOST:
        return found
    weight = {"ERROR": 0, "WARNING": 1}
    kept = sorted(found, key=lambda one: weight.get(one.level, 2))[:MOST]
    left = Finding(
        code="ECLUSTERCFG",
        kind="cluster",
        item="verify",
        message=f"{len(found) - MOST} more findings are not shown",
        level="NOTICE",
    )
    return [*kept, left]


def configuration(cluster: Snapshot, now: float) -> Iterator[Finding]:
    """What the records alone show."""
    whole = cluster.cluster
    if whole.master_node not in cluster.nodes:
        yield Finding(
            code="ECLUSTERCFG", kind="cluster", item=whole.name, message="its master is no node"
        )
    yield from _pool(cluster)
    for node in cluster.nodes.values():
        if node.group not in cluster.groups:
            yield Finding(
                code="ECLUSTERDANGLINGNODES",
                kind="node",
                item=node.name,
                message="its group does not exist",
            )
    for one in cluster.instances.values():
        missing = [
            uuid for uuid in (one.primary_node, *one.secondary_nodes) if uuid not in cluster.nodes
        ]
        if missing:
            yield Finding(
                code="ECLUSTERDANGLINGINST",
                kind="instance",
                item=one.name,
                message=f"it refers to nodes that do not exist: {', '.join(missing)}",
            )
    yield from redundancy.configuration(cluster)
    yield from redundancy.degraded(cluster)


def _pool(cluster: Snapshot) -> Iterator[Finding]:
    have = len(candidates.others(cluster))
    missing = candidates.promotable(cluster)
    if missing:
        yield Finding(
            code="ECLUSTERCFG",
            kind="cluster",
            item=cluster.cluster.name,
            message=f"has {have} master candidates and should have {have + len(missing)}: "
            f"gnt-node modify -C yes {missing[0].name}",
        )


def nodes(
    cluster: Snapshot, seen: Mapping[Uuid, Inspection | Unavailable], now: float
) -> Iterator[Finding]:
    """What the nodes say, compared with the records. Offline nodes are not in ``seen``."""
    # Once for all nodes: there may be a hundred, and ten thousand instances.
    disks = ownership.disks(cluster)
    for uuid, said in seen.items():
        node = cluster.nodes[uuid]
        if isinstance(said, Unavailable):
            yield Finding(
                code="ENODERPC", kind="node", item=node.name, message=f"does not answer: {said}"
            )
        else:
            yield from _node(cluster, node, said, disks, now)
    yield from _master_files(cluster, seen, now)
    yield from _oses(cluster, seen)
    yield from _instances(cluster, seen)


def _node(
    cluster: Snapshot, node: Node, said: Inspection, disks: Mapping[str, Owned], now: float
) -> Iterator[Finding]:
    def finding(code: str, message: str, level: str = "ERROR") -> Finding:
        return Finding(code=code, kind="node", item=node.name, message=message, level=level)

    for code, item, message in said.problems:
        if code == "EINSTANCEMISSINGDISK":
            continue  # told of the instance that it belongs to
        yield finding(code if code in CODES else "ENODESETUP", f"{item}: {message}")
    for code, message, level in (
        *_machine(cluster, said.facts, now),
        *_capacity(cluster, node, said.facts),
        *_strangers(cluster, node, said, disks),
        *_bundle(cluster, node, said.facts),
    ):
        yield finding(code, message, level)


def _bundle(cluster: Snapshot, node: Node, facts: NodeFacts) -> Iterator[tuple[str, str, str]]:
    for target in rollout.targets(cluster):
        number = rollout.wanted(cluster, target, node.uuid) or 0
        if rollout.wanted_hash(cluster, target, node.uuid) != facts.bundles.get(target, ""):
            code = "ENODEOS" if os_name(target) else "ENODEHOOKS"
            should, program = rollout.described(target, number), rollout.program(target)
            yield code, f"is to have {should} and has not: {program} status", "WARNING"


def _machine(cluster: Snapshot, facts: NodeFacts, now: float) -> Iterator[tuple[str, str, str]]:
    if facts.clock and abs(facts.clock - now) > _SKEW:
        yield "ENODETIME", f"its clock is {facts.clock - now:+.0f} s off the master's", "ERROR"
    for problem in facts.problems:
        yield "ENODESETUP", problem, "WARNING"
    mine = cluster.node_live(cluster.cluster.master_node).facts
    if mine is not None and mine.version != facts.version:
        yield "ENODEVERSION", f"runs {facts.version}, the master {mine.version}", "WARNING"
    days = (facts.certificate_expires - now) / _DAY
    if facts.certificate_expires and days < _WARN_DAYS:
        level = "ERROR" if days < _ERROR_DAYS else "WARNING"
        yield "ECLUSTERCERT", f"its certificate expires in {days:.0f} days", level


def _capacity(cluster: Snapshot, node: Node, facts: NodeFacts) -> Iterator[tuple[str, str, str]]:
    for name in cluster.cluster.enabled_hypervisors if node.vm_capable else ():
        offer = facts.hypervisors.get(name)
        if offer is None or not offer.available:
            why = offer.why if offer else "not known there"
            yield "ENODEHV", f"hypervisor {name} is not available: {why}", "ERROR"
    free = cluster.free_memory(node.uuid)
    if free is not None and free < 0:
        yield "ENODEN1", f"its instances are promised {-free} MiB more than it has", "ERROR"


def _strangers(
    cluster: Snapshot, node: Node, said: Inspection, disks: Mapping[str, Owned]
) -> Iterator[tuple[str, str, str]]:
    for path in sorted(set(said.disks)):
        why = ownership.stranger(path, node, disks)
        if why:
            yield "ENODEORPHANLV", why, "WARNING"
    for path in sorted(redundancy.orphans(cluster, node.uuid, said.disks)):
        message = f"{path} is no replica of its disk any more: look, and delete it there"
        yield "ENODEORPHANLV", message, "WARNING"
    for guest in said.guests:
        if guest.uuid not in cluster.instances:
            does, level = ("runs", "ERROR") if guest.up else ("keeps a record of", "WARNING")
            end = f"gnt-node end-guest {node.name} {guest.uuid}"
            message = f"{does} {guest.name}, which is no instance ({end} ends it)"
            yield "ENODEORPHANINSTANCE", message, level


def _master_files(
    cluster: Snapshot, seen: Mapping[Uuid, Inspection | Unavailable], now: float
) -> Iterator[Finding]:
    """Candidates have what the master has, which is sent to them once they are candidates."""
    master = seen.get(cluster.cluster.master_node)
    mine = master.master_files if isinstance(master, Inspection) else {}
    for uuid, said in seen.items():
        node = cluster.nodes[uuid]
        if uuid == cluster.cluster.master_node or isinstance(said, Unavailable):
            continue
        message, level = _readiness(node, said, mine)
        if message:
            fresh = now - node.mtime < _FRESH
            yield Finding(
                code="ENODEFILECHECK",
                kind="node",
                item=node.name,
                message=message,
                level="NOTICE" if fresh else level,
            )


def _readiness(node: Node, said: Inspection, mine: Mapping[str, str]) -> tuple[str, str]:
    """What keeps a candidate from being the master; of some files each has its own."""
    if not node.master_candidate:
        why = "is no master candidate and has files of a master, keys among them"
        return (why, "WARNING") if said.master_files else ("", "")
    lacking = sorted(mine.keys() - said.master_files.keys())
    if lacking:
        return f"could not be the master: it lacks {', '.join(lacking)}", "ERROR"
    other = sorted(
        name
        for name, digest in mine.items()
        if name not in OWN_FILES and said.master_files.get(name) != digest
    )
    if other:
        return f"could not be the master: it has an old {', '.join(other)}", "ERROR"
    if not said.master_waits:
        return "could not be the master: no master process (gantry-master) waits there", "WARNING"
    return "", ""


def _oses(cluster: Snapshot, seen: Mapping[Uuid, Inspection | Unavailable]) -> Iterator[Finding]:
    answers = {
        cluster.nodes[uuid].name: said.oses
        for uuid, said in seen.items()
        if isinstance(said, Inspection) and cluster.nodes[uuid].vm_capable
    }
    for one in complaints(combine(answers)):
        yield Finding(
            code="ENODEOS",
            kind="node",
            item=one.node,
            message=f"OS {one.os}: {one.message}",
            level="WARNING" if one.harmless else "ERROR",
        )


def _instances(
    cluster: Snapshot, seen: Mapping[Uuid, Inspection | Unavailable]
) -> Iterator[Finding]:
    running: dict[Uuid, list[tuple[Uuid, GuestLive]]] = {}
    missing: dict[Uuid, set[str]] = {}
    for node, said in seen.items():
        if isinstance(said, Inspection):
            missing[node] = {
                path for code, path, _ in said.problems if code == "EINSTANCEMISSINGDISK"
            }
            for guest in said.guests:
                if guest.up:
                    running.setdefault(guest.uuid, []).append((node, guest))
    for one in cluster.instances.values():
        where = [node for node, _ in running.get(one.uuid, [])]
        yield from _instance(cluster, one, where, missing)
    yield from redundancy.missing(cluster, missing)


def _instance(
    cluster: Snapshot, one: Instance, where: list[Uuid], missing: Mapping[Uuid, set[str]]
) -> Iterator[Finding]:
    def finding(code: str, message: str, level: str = "ERROR") -> Finding:
        return Finding(code=code, kind="instance", item=one.name, message=message, level=level)

    primary = cluster.nodes.get(one.primary_node)
    if primary is None:
        return
    for message in _elsewhere(cluster, one, primary, where):
        yield finding("EINSTANCEWRONGNODE", message)
    should = one.admin_state is AdminState.UP
    if should and primary.offline:
        back = f"gnt-node modify --offline=no {primary.name}, or gnt-instance failover {one.name}"
        yield finding("EINSTANCEBADNODE", f"its node {primary.name} is offline ({back})")
    if primary.uuid in missing:
        yield from _at_home(one, primary, should, primary.uuid in where, missing[primary.uuid])


def _elsewhere(cluster: Snapshot, one: Instance, primary: Node, where: list[Uuid]) -> Iterator[str]:
    """It runs where it should not, each with the command that mends it."""
    others = [cluster.nodes[uuid].name for uuid in where if uuid != primary.uuid]
    ends = " or ".join(f"gnt-node end-guest {name} {one.uuid}" for name in others)
    if others and len(where) > 1:
        names = " and ".join(sorted(cluster.nodes[uuid].name for uuid in where))
        yield f"runs on {names} at once, which destroys its disks: end one of them now ({ends})"
    elif others:
        message = f"runs on {others[0]}, its node is {primary.name} ({ends} ends that guest"
        if moving.shared(one):
            message += f"; gnt-instance failover --cleanup {one.name} leaves it there"
        yield message + ")"


def _at_home(
    one: Instance, primary: Node, should: bool, runs: bool, missing: set[str]
) -> Iterator[Finding]:
    def finding(code: str, message: str, level: str = "ERROR") -> Finding:
        return Finding(code=code, kind="instance", item=one.name, message=message, level=level)

    start = f"gnt-instance startup {one.name}"
    if should and not runs:
        yield finding("EINSTANCEDOWN", f"should be up and is not, on {primary.name} ({start})")
    if runs and not should:
        stop = f"gnt-instance shutdown {one.name}"
        yield finding("EINSTANCEDOWN", f"runs and should not ({stop})", "WARNING")
    for path in sorted({disk.path for disk in one.disks} & missing):
        anew = f"gnt-instance recreate-disks {one.name} makes it anew, empty"
        yield finding("EINSTANCEMISSINGDISK", f"{path} is missing on {primary.name} ({anew})")
