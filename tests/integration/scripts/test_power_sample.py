"""The sample program that switches power says what it knows, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[3] / "examples/power/ipmi"
NODE = "node2.example.com"
SENSORS = """\
Fan 1            | 3000 RPM          | ok
Temp "CPU"       | 95 degrees C      | nc
PSU 2            | 0x00              | cr
Fan 9            | no reading        | ns
Odd              | 1                 | what
"""


class Machine:
    """Its service processor, which answers ``said`` and ``status``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked = root / "asked"
        access = root / f"etc/gantry/power/{NODE}"
        access.mkdir(parents=True)
        for name, text in (("address", "192.0.2.7"), ("user", "gantry"), ("password", "secret")):
            (access / name).write_text(f"{text}\n")
        self.answer("")

    def answer(self, said: str, status: int = 0) -> None:
        (self.root / "said").write_text(said)
        tool = self.root / "ipmitool"
        text = f'#!/bin/sh\necho "$@" > {self.asked}\ncat {self.root}/said\nexit {status}\n'
        tool.write_text(text)
        tool.chmod(0o755)

    def run(self, command: str, node: str = NODE) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.root}:{os.environ['PATH']}", "GANTRY_ROOT": str(self.root)}
        return subprocess.run(
            [SAMPLE, command, node], env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("what", ["on", "off", "cycle"])
def test_it_passes_commands_on_without_the_password(machine: Machine, what: str) -> None:
    done = machine.run(f"power-{what}")
    assert (done.returncode, done.stdout) == (0, "")
    asked = machine.asked.read_text()
    assert asked.startswith("-I lanplus -H 192.0.2.7 -U gantry -f ")
    assert asked.endswith(f"chassis power {what}\n")
    assert "secret" not in asked
    machine.answer("", status=1)
    assert machine.run(f"power-{what}").returncode != 0


def test_only_a_plain_word_is_a_status(machine: Machine) -> None:
    for said, powered in (("Chassis Power is on\n", True), ("Chassis Power is off\n", False)):
        machine.answer(said)
        assert json.loads(machine.run("power-status").stdout) == {"powered": powered}
    for said, status in (("", 0), ("Unable to get Chassis Power Status\n", 1), ("off\n", 0)):
        machine.answer(said, status)
        done = machine.run("power-status")
        assert (done.returncode != 0, done.stdout) == (True, "")


def test_health_is_what_its_sensors_say(machine: Machine) -> None:
    machine.answer(SENSORS)
    assert json.loads(machine.run("health").stdout) == [
        ["Fan 1", "OK"],
        ["Temp ?CPU?", "WARNING"],
        ["PSU 2", "CRITICAL"],
        ["Odd", "UNKNOWN"],
    ]
    machine.answer("", status=1)
    assert machine.run("health").returncode != 0


def test_what_it_does_not_know_is_an_error(machine: Machine) -> None:
    assert "how is node9 reached" in machine.run("power-off", "node9").stderr
    assert "no command" in machine.run("power-up").stderr
