"""What is removed of exports is set aside first, and comes back where the job does not succeed.

All of an export is ``.<instance>.removed`` meanwhile, and one with a point that was taken out of
the present one is ``.<instance>.old``. Both are deleted by ``exports.settle``.
"""

from __future__ import annotations

from gantry.agent import exports, pruning
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.asking import Nothing
from gantry.model.increment_orders import ExportAside, ExportRestore


async def remove(parts: Parts, order: ExportAside, task: Task) -> Nothing:
    """It is none any more when this returns."""
    final = exports.where(parts.root, order.instance)
    removed = exports.where(parts.root, order.instance, exports.REMOVED)

    def work() -> None:
        exports.recover(parts.root, order.instance)
        if not final.exists() or exports.newer(final, order.before):
            return
        exports.delete(removed)
        final.rename(removed)
        exports.sync(final.parent)

    await exports.guarded(parts, order.instance, work)
    return Nothing()


async def restore(parts: Parts, order: ExportRestore, task: Task) -> Nothing:
    """Nothing is touched where the export is another one by now."""
    root, name = parts.root, order.instance
    final = exports.where(root, name)
    kind = exports.REMOVED if order.point is None else exports.OLD
    kept = exports.where(root, name, kind)

    def work() -> None:
        if order.point is not None:
            exports.recover(root, name)
            if pruning.without(kept, order.point) != pruning.numbers(final):
                return
            exports.delete(final)
        if kept.exists() and not final.exists():
            kept.rename(final)
            exports.sync(final.parent)

    await exports.guarded(parts, name, work)
    return Nothing()
