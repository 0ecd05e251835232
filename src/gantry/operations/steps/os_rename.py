"""The ``rename`` script of an instance's OS definition: a step of a rename and of an import.

Its failure is only a warning (OS interface, section 3): the instance has its new name.
"""

from __future__ import annotations

from gantry.model import timeouts
from gantry.model.errors import Cancelled, GantryError
from gantry.model.orders import OsRename, OsRun
from gantry.model.replicas import MirrorChange
from gantry.ports.steps import Changes, Steps

NAME = "os-rename"
"""Of the effect."""


async def tell_new_name(
    steps: Steps, run: OsRun, old_name: str, *, first: tuple[MirrorChange, ...] = ()
) -> bool:
    """Run the script on the primary node; ``run`` has the new name. Whether it succeeded.

    An OS without a definition has none: ``run.os`` is not empty here. ``first`` is durable before.
    """
    steps.log(f"running the rename script of OS {run.os}...")
    node = run.primary_node[0]
    order = OsRename(run=run, old_name=old_name)
    try:
        before = Changes(mirrors=first)
        await steps.do(NAME, node, order, first=before, timeout=timeouts.OS_RENAME)
    except Cancelled:
        raise
    except GantryError as error:
        steps.warn(
            f"the rename script failed, so the guest's own system may still call itself "
            f"{old_name}: {error.message}"
        )
        return False
    return True
