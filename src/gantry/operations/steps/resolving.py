"""Whether a new name of an instance resolves: what the OS interface promises its scripts."""

from __future__ import annotations

from gantry.model import timeouts
from gantry.model.errors import Reason, Rejected
from gantry.model.orders import Resolve
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner


async def name_resolves(name: str, cluster: Snapshot, ask: Examiner, ping: bool) -> None:
    """The name resolves on the master and, with ``ping``, nothing answers there; or Rejected."""
    question = Resolve(name=name, ping=ping)
    found = await ask.ask(cluster.master.uuid, question, timeouts.URGENT)
    if found.address is None:
        raise Rejected(
            f"the name {name} does not resolve: {found.problem}",
            "enter it in the DNS or in /etc/hosts, or give --no-name-check",
            reason=Reason.RESOLVER,
            object_name=name,
        )
    if found.answers:
        raise Rejected(
            f"address {found.address} of {name} is in use: something answers there",
            "choose another name or address, or give --no-ip-check",
            reason=Reason.NOT_UNIQUE,
            object_name=name,
        )
