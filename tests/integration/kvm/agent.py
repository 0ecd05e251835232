"""An agent in the smallest: starts a guest, says so, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from gantry.hypervisors.kvm import Kvm
from gantry.model.orders import GuestSpec


async def main() -> None:
    driver = Kvm(Path(sys.argv[1]), "node1")
    await driver.open(lambda _guest: None)
    guest = await driver.start(msgspec.json.decode(sys.argv[2], type=GuestSpec))
    print(guest.pid, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
