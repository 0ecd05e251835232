from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gantry.host import kvm_probe, machine
from gantry.host.kvm_probe import Probed, judge


def test_a_processor_is_told_from_an_emulator_by_the_clock() -> None:
    assert judge({"ms": 1.2}) == Probed(True, "200000 instructions took 1.2 ms")
    slow = judge({"ms": 104.0})
    assert not slow.usable
    assert "took 104 ms" in slow.why
    assert not judge({"error": "Operation not permitted"}).usable


async def test_the_answer_is_kept_until_the_next_boot(tmp_path: Path) -> None:
    cache = tmp_path / "probe.json"
    known = Probed(True, "it was so", machine.boot_id())
    cache.write_bytes(msgspec.json.encode(known))
    assert await kvm_probe.probe(cache) == known


@pytest.mark.parametrize("content", [b"{", b'{"usable":true,"why":"","boot_id":"earlier"}'])
async def test_another_boot_or_a_damaged_file_is_asked_anew(tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "probe.json"
    cache.write_bytes(content)

    found = await kvm_probe.probe(cache)

    assert found.why
    assert msgspec.json.decode(cache.read_bytes(), type=Probed) == found
