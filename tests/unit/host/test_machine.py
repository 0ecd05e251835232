from __future__ import annotations

import os
from pathlib import Path

from gantry.host import machine


def test_the_machine_has_memory_processors_and_space(tmp_path: Path) -> None:
    memory = machine.memory()
    assert 0 < memory.free <= memory.total
    assert machine.processors().count >= machine.processors().sockets >= 1
    space = machine.space(tmp_path / "not" / "yet" / "there")
    assert space == machine.space(tmp_path)
    assert 0 < space.free <= space.total
    assert len(machine.boot_id()) == 36
    assert machine.process_memory(os.getpid()) > 5
    assert machine.process_memory(2**22 + 1) == 0
