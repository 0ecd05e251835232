from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import msgspec
import pytest

from gantry.host import machine
from gantry.hypervisors.fake import Fake
from gantry.hypervisors.fake_state import Kept, keep
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestLive, GuestState
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec

SPEC = GuestSpec(
    uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
    name="web1.gantry.test",
    hypervisor="fake",
    memory=128,
    vcpus=1,
)
LIVE = GuestLive(uuid=SPEC.uuid, name=SPEC.name, state=GuestState.RUNNING)


def behave(root: Path, how: dict[str, object]) -> None:
    path = root / "etc/gantry/fake-failures.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(how))


async def opened(root: Path) -> tuple[Fake, asyncio.Queue[GuestLive]]:
    told: asyncio.Queue[GuestLive] = asyncio.Queue()
    driver = Fake(root)
    await driver.open(told.put_nowait)
    return driver, told


@pytest.mark.parametrize("name", ["web1.gantry.test", "*"])
@pytest.mark.parametrize("method", ["start", "stop", "reset", "forget", "console"])
async def test_every_method_fails_on_request(tmp_path: Path, method: str, name: str) -> None:
    driver, _ = await opened(tmp_path)
    if method != "start":
        await driver.start(SPEC)
    behave(tmp_path, {name: {method: {"error": "no such luck"}}})

    with pytest.raises(OperationFailed, match=r"web1\.gantry\.test.*: no such luck"):
        match method:
            case "start":
                await driver.start(SPEC)
            case "stop":
                await driver.stop(SPEC.uuid, timeout=1)
            case "reset":
                await driver.reset(SPEC.uuid)
            case "forget":
                await driver.forget(SPEC.uuid)
            case _:
                await driver.console(SPEC.uuid)


async def test_a_delay_takes_its_time(tmp_path: Path) -> None:
    driver, _ = await opened(tmp_path)
    behave(tmp_path, {"*": {"start": {"delay": 30}}})

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await driver.start(SPEC)


async def test_a_guest_dies_on_request(tmp_path: Path) -> None:
    driver, told = await opened(tmp_path)
    behave(tmp_path, {"*": {"die_after": 0.01}})

    await driver.start(SPEC)

    assert (await told.get()).state is GuestState.RUNNING
    assert (await told.get()).state is GuestState.DIED


async def test_a_death_that_was_due_while_no_agent_ran_has_happened(tmp_path: Path) -> None:
    keep(tmp_path, Kept(LIVE, machine.boot_id(), time.time() - 1))
    driver, _ = await opened(tmp_path)
    assert driver.guests()[0].state is GuestState.DIED


async def test_a_death_that_is_due_happens_under_another_agent(tmp_path: Path) -> None:
    keep(tmp_path, Kept(LIVE, machine.boot_id(), time.time() + 0.05))
    driver, told = await opened(tmp_path)
    assert driver.guests()[0].up
    assert (await told.get()).state is GuestState.DIED


async def test_a_file_of_failures_with_a_mistake_is_named(tmp_path: Path) -> None:
    driver, _ = await opened(tmp_path)
    behave(tmp_path, {"*": {"strat": {}}})
    with pytest.raises(OperationFailed, match=r"fake-failures\.json .* `strat`"):
        await driver.start(SPEC)


async def test_a_damaged_guest_hides_no_other(tmp_path: Path) -> None:
    keep(tmp_path, Kept(LIVE, machine.boot_id()))
    (tmp_path / "var/lib/gantry/fake-guests/other.json").write_text("{")
    driver, _ = await opened(tmp_path)
    assert driver.guests() == (LIVE,)


async def test_no_guest_survives_a_reboot(tmp_path: Path) -> None:
    keep(tmp_path, Kept(LIVE, "an earlier boot"))
    driver, _ = await opened(tmp_path)
    assert driver.guests()[0].reason == "the node was restarted"


async def test_hundreds_of_starts_and_stops_take_no_time(tmp_path: Path) -> None:
    driver, _ = await opened(tmp_path)
    specs = [
        msgspec.structs.replace(SPEC, uuid=Uuid(f"01234567-89ab-cdef-0123-{number:012}"))
        for number in range(250)
    ]
    begun = time.process_time()

    for spec in specs:
        await driver.start(spec)
        await driver.stop(spec.uuid, timeout=1)

    assert time.process_time() - begun < 0.5
