"""In a network namespace of its own: a bridged guest, and what is left of it. Prints JSON."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
import uuid
from pathlib import Path

import msgspec
from pyroute2 import AsyncIPRoute  # type: ignore[import-untyped]  # it ships no types
from tests.contract.hypervisors.worlds import KvmWorld, _ended

from gantry.hypervisors.kvm import Kvm
from gantry.model.entities import NicMode
from gantry.model.names import Uuid
from gantry.model.orders import NicSpec
from gantry.network.taps import BridgedTaps

CLONE_NEWNET = 0x40000000


def taps() -> int:
    return sum(name.startswith("gt") for _, name in socket.if_nameindex())


async def main() -> None:
    root = Path(sys.argv[1])
    async with AsyncIPRoute() as netlink:
        await netlink.link("add", ifname="br7", kind="bridge")
    nic = NicSpec(
        uuid=Uuid(str(uuid.uuid4())),
        index=0,
        mac="aa:00:00:00:00:01",
        mode=NicMode.BRIDGED,
        link="br7",
    )
    spec = msgspec.structs.replace(KvmWorld(root).spec("web1.gantry.test"), nics=(nic,))
    driver = Kvm(root, "node1", BridgedTaps())
    await driver.open(lambda _guest: None)
    guest = await driver.start(spec)
    await driver.close()
    found = {"while up": taps()}
    os.kill(guest.pid, signal.SIGKILL)
    await _ended(guest.pid)
    found["after its death"] = taps()
    print(json.dumps(found))


if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
    raise OSError(ctypes.get_errno(), "unshare")
asyncio.run(main())
