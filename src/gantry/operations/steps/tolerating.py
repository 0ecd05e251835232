"""Orders that may fail without the operation's failing."""

from __future__ import annotations

from typing import Any

from gantry.model.errors import Cancelled, GantryError
from gantry.model.names import Uuid
from gantry.model.orders import Order
from gantry.ports.steps import Changes, Steps


async def succeeds(
    steps: Steps,
    name: str,
    node: Uuid,
    order: Order[Any],
    otherwise: str,
    *,
    first: Changes | None = None,
    timeout: float | None = None,
) -> bool:
    """Carry it out. Where it fails a warning says ``otherwise``, and why; Cancelled is raised."""
    try:
        await steps.do(name, node, order, first=first, timeout=timeout)
    except Cancelled:
        raise
    except GantryError as error:
        steps.warn(f"{otherwise}: {error.message}")
        return False
    return True
