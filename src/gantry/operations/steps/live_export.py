"""Exporting the disks of a guest that goes on running: their content of one moment is kept."""

from __future__ import annotations

from gantry.model import timeouts
from gantry.model.backup_orders import (
    SnapshotClose,
    SnapshotOpen,
)
from gantry.model.increment_orders import ChangesClose, ChangesOpen, MarksDrop
from gantry.model.names import Uuid
from gantry.operations.steps.export_plan import ExportPlan
from gantry.ports.steps import Steps, Undo


async def keep_content(plan: ExportPlan, steps: Steps) -> None:
    """From here on the guest may write: what is exported is as it is now, on all disks."""
    if plan.since is not None:
        await _copy_changes(plan, steps, plan.since)
        return
    steps.log(f"taking a snapshot of the disks of {plan.instance.name}, which goes on running")
    await steps.do(
        "snapshot",
        plan.instance.primary_node,
        SnapshotOpen(
            guest=plan.instance.uuid,
            hypervisor=plan.instance.hypervisor,
            disks=plan.spec.disks,
            mark=plan.mark,
        ),
        undo=_snapshot_end(plan, drop=plan.mark),
    )


async def _copy_changes(plan: ExportPlan, steps: Steps, since: Uuid) -> None:
    assert plan.upon is not None
    assert plan.mark is not None
    steps.log(f"copying what has changed in the disks of {plan.instance.name}, which goes on")
    await steps.do(
        "changes",
        plan.instance.primary_node,
        ChangesOpen(
            guest=plan.instance.uuid,
            hypervisor=plan.instance.hypervisor,
            disks=plan.spec.disks,
            below=plan.upon.below,
            since=since,
            mark=plan.mark,
        ),
        undo=_changes_end(plan, drop=plan.mark),
        timeout=timeouts.TRANSFER,
    )


async def let_go(plan: ExportPlan, steps: Steps) -> None:
    """What was kept of the running guest's disks is not needed any more."""
    if plan.since is not None:
        await steps.do("changes-end", plan.instance.primary_node, _changes_end(plan))
        return
    order = _snapshot_end(plan, check=True)
    await steps.do("snapshot-end", plan.instance.primary_node, order)


def _snapshot_end(
    plan: ExportPlan, *, check: bool = False, drop: Uuid | None = None
) -> SnapshotClose:
    return SnapshotClose(
        guest=plan.instance.uuid,
        hypervisor=plan.instance.hypervisor,
        disks=plan.spec.disks,
        check=check,
        drop=drop,
    )


def _changes_end(plan: ExportPlan, drop: Uuid | None = None) -> ChangesClose:
    return ChangesClose(
        guest=plan.instance.uuid,
        hypervisor=plan.instance.hypervisor,
        disks=plan.spec.disks,
        drop=drop,
    )


def counted_no_longer(plan: ExportPlan) -> list[Undo]:
    """The mark of the point before: nothing will be built on it any more."""
    if plan.since is None:
        return []
    order = MarksDrop(
        guest=plan.instance.uuid, hypervisor=plan.instance.hypervisor, marks=(plan.since,)
    )
    return [Undo(plan.instance.primary_node, order)]
