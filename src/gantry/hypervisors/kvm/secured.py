"""TLS for what QEMU sends to another QEMU: the objects that hold it, by name.

Credentials are read from their files when the object is made.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from gantry.hypervisors.contract import Link
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model.errors import OperationFailed

TLS: Final = "moving-tls"
PEER: Final = "moving-peer"


async def listening(monitor: Monitor, link: Link) -> dict[str, Any]:
    """The objects of the end that listens, and the arguments that name them."""
    await forget(monitor)
    await _credentials(monitor, link, "server")
    peer: dict[str, Any] = {"qom-type": "authz-simple", "id": PEER, "identity": link.peer}
    await monitor.execute("object-add", **peer)
    return {"tls-creds": TLS, "tls-authz": PEER}


async def calling(monitor: Monitor, link: Link) -> dict[str, Any]:
    """The same of the end that calls."""
    await forget(monitor)
    await _credentials(monitor, link, "client")
    return {"tls-creds": TLS, "tls-hostname": link.peer}


async def forget(monitor: Monitor) -> None:
    """Nothing of it stays; what is not there is gone already."""
    none: dict[str, Any] = {"tls-creds": "", "tls-hostname": "", "tls-authz": ""}
    await monitor.execute("migrate-set-parameters", **none)
    for name in (PEER, TLS):
        with contextlib.suppress(OperationFailed):
            await monitor.execute("object-del", id=name)


async def _credentials(monitor: Monitor, link: Link, endpoint: str) -> None:
    credentials: dict[str, Any] = {
        "qom-type": "tls-creds-x509",
        "id": TLS,
        "dir": link.directory,
        "endpoint": endpoint,
        "verify-peer": True,
        "sanity-check": False,  # the agent sees to the certificates, and to their end
    }
    await monitor.execute("object-add", **credentials)
