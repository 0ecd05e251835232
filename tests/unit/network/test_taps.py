from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gantry.model.entities import NicMode
from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.model.orders import NicSpec
from gantry.network.taps import BridgedTaps, bridges, tap_name

NIC = NicSpec(
    uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
    index=0,
    mac="aa:00:00:00:00:01",
    mode=NicMode.BRIDGED,
    link="br7",
)
CLONE_NEWNET = 0x40000000


def test_the_name_of_a_tap_fits_an_interface() -> None:
    assert tap_name(NIC) == "gt0123456789ab"


async def test_a_link_that_is_no_bridge_is_refused_with_a_list() -> None:
    with pytest.raises(Rejected, match=r"NIC 0 of web1 .* no bridge 'br7'") as caught:
        await BridgedTaps().open("web1", NIC, offload=True)
    assert "choose one of these" in caught.value.hint


async def test_a_vlan_is_refused_and_not_forgotten() -> None:
    nic = NicSpec(uuid=NIC.uuid, index=0, mac=NIC.mac, mode=NicMode.BRIDGED, link="lo", vlan="7")
    with pytest.raises(Rejected, match="VLAN 7"):
        await BridgedTaps().open("web1", nic, offload=True)


@pytest.mark.root
@pytest.mark.namespaces
def test_a_tap_joins_its_bridge_and_is_gone_once_closed() -> None:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


async def in_a_namespace() -> None:
    """Run as a program of its own, so that the test's process stays in its namespace."""
    from pyroute2 import AsyncIPRoute  # type: ignore[import-untyped]  # it ships no types

    async with AsyncIPRoute() as netlink:
        await netlink.link("add", ifname="br7", kind="bridge")
        (bridge,) = await netlink.link_lookup(ifname="br7")
        assert bridges() == ("br7",)

        tap = await BridgedTaps().open("web1", NIC, offload=True)
        masters = {
            link.get("ifname"): (link.get("master"), link["flags"] & 1)
            async for link in await netlink.link("dump")
        }
        assert masters[tap_name(NIC)] == (bridge, 1)

        os.close(tap)
        assert not await netlink.link_lookup(ifname=tap_name(NIC))


if __name__ == "__main__":
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    assert Path("/dev/net/tun").exists()
    asyncio.run(in_a_namespace())
