"""An export that is added to a chain: looking at what is there, and the plan that follows."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gantry.model import export_config, export_facts, timeouts
from gantry.model.backup_orders import (
    EXPORT_DIRECTORY,
    ChangedBlocks,
    ExportContents,
    ReadExport,
    ReadExports,
)
from gantry.model.errors import Reason, Rejected, Unavailable
from gantry.model.increment_orders import ExportUnchanged, NoChanges, ReadMarks, ReadStamps
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner
from gantry.operations.steps import exporting, increments, specs
from gantry.operations.steps.export_plan import ExportPlan


async def upon_chain(plan: ExportPlan, cluster: Snapshot, ask: Examiner) -> ExportPlan:
    """The plan, built upon the chain that is there."""
    await _no_chain_elsewhere(plan, cluster, ask)
    instance, home = plan.instance, plan.instance.primary_node
    found = await _there(plan, ask)
    now = increments.Now(
        instance=instance,
        node=cluster.nodes[home].name,
        guest=cluster.guest(instance) if plan.running else None,
    )
    if now.guest is not None:
        read = ReadMarks(guest=instance.uuid, hypervisor=instance.hypervisor)
        marks = await ask.ask(home, read, timeouts.URGENT)
        now = msgspec.structs.replace(now, marks=marks.disks)
    else:
        look = ReadStamps(disks=specs.disks(instance))
        stamps = await ask.ask(home, look, timeouts.URGENT)
        now = msgspec.structs.replace(now, stamps=stamps.disks)
    return _built(plan, cluster, increments.decide(found, now), now.stamps)


async def no_chain_replaced(plan: ExportPlan, ask: Examiner) -> None:
    """A chain of several points on the target is not thrown away by the way."""
    found = await _there(plan, ask)
    name = plan.instance.name
    another = found is not None and increments.of_another(found, plan.instance)
    if another:
        ask.warn(f"the export that is there is of another instance, which was called {name} then")
    if found is not None and len(found.points) > 1:
        raise Rejected(
            f"node {plan.target.name} has a chain of {len(found.points)} exports of {name}, which "
            "this one would replace",
            # What another instance has exported cannot be built upon.
            f"remove it first: gnt-backup remove {name}"
            if another
            else f"add to it with --incremental, or remove it first: gnt-backup remove {name}",
            reason=Reason.STATE,
            object_name=name,
        )


async def _there(plan: ExportPlan, ask: Examiner) -> ExportContents | None:
    """The export that the target has, at its last point."""
    question = ReadExport(directory=f"{EXPORT_DIRECTORY}/{plan.instance.name}")
    try:
        return await ask.ask(plan.target.node, question, timeouts.URGENT)
    except Rejected as error:
        if error.reason is not Reason.UNKNOWN:
            raise
        return None


async def _no_chain_elsewhere(plan: ExportPlan, cluster: Snapshot, ask: Examiner) -> None:
    """A chain of several points on another node is not thrown away by the way."""
    for uuid in plan.others:
        name = cluster.nodes[uuid].name
        try:
            answer = await ask.ask(uuid, ReadExports(), timeouts.URGENT)
        except Unavailable as error:
            ask.warn(f"exports of {name} are not known: {error.message}")
            continue
        for one in answer.exports:
            here = one.name == plan.instance.name and one.directory == EXPORT_DIRECTORY
            if here and len(one.points) > 1:
                raise Rejected(
                    f"node {name} has a chain of {len(one.points)} exports of {one.name}",
                    f"export it to {name}, or remove those first: gnt-backup remove {one.name}",
                    reason=Reason.STATE,
                    object_name=one.name,
                )


def _built(
    plan: ExportPlan,
    cluster: Snapshot,
    decision: increments.Decision,
    stamps: Mapping[str, str],
) -> ExportPlan:
    """The plan with the files of its point."""
    upon, instance = decision.upon, plan.instance
    plan = msgspec.structs.replace(plan, upon=upon, why=decision.why)
    assert plan.now is not None
    config = exporting.config(cluster, instance, plan.now, plan.point)
    facts = exporting.facts(
        instance,
        False,
        point=plan.point,
        mark=plan.mark or "",
        below=increments.names(upon),
        stamps=stamps,
    )
    transfers = tuple(
        msgspec.structs.replace(
            one,
            origin=ChangedBlocks(disk=disk) if plan.since else one.origin,
            landing=exporting.dump_file(
                instance,
                export_facts.dump_name(disk.uuid, plan.point),
                0 if plan.since else disk.size,
            ),
        )
        for one, disk in zip(plan.transfers, specs.disks(instance), strict=True)
        if not plan.unchanged
    )
    return msgspec.structs.replace(
        plan,
        transfers=transfers,
        config=export_config.write(config),
        facts=export_facts.encode(facts),
    )


def nothing_new(plan: ExportPlan) -> ExportUnchanged:
    """What stands for its disks, upon the last point."""
    assert plan.upon is not None
    dumps = tuple(
        NoChanges(name=name, size=disk.size, below=below)
        for name, disk, below in zip(plan.dumps, plan.instance.disks, plan.upon.below, strict=True)
    )
    return ExportUnchanged(instance=plan.instance.name, dumps=dumps)
