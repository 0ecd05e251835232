from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from gantry.hypervisors.kvm.record import Files, Phase, Record, outcome
from gantry.model.live import GuestLive, GuestState
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec

SPEC = GuestSpec(
    uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
    name="web1.gantry.test",
    hypervisor="kvm",
    memory=128,
    vcpus=1,
)
RECORD = Record(spec=SPEC, phase=Phase.UP, boot_id="this", since=7.0)


@pytest.mark.parametrize(
    ("phase", "boot", "state", "reason"),
    [
        (Phase.UP, "this", GuestState.DIED, "QEMU ended unexpectedly: killed"),
        (Phase.UP, "earlier", GuestState.DIED, "the node was restarted"),
        (Phase.STARTING, "this", GuestState.DIED, "QEMU ended while it was being started: killed"),
        (Phase.STOPPING, "this", GuestState.STOPPED, ""),
        (Phase.STOPPING, "earlier", GuestState.STOPPED, ""),
        (Phase.OFF, "this", GuestState.SHUT_DOWN, "the guest powered itself off"),
        (Phase.OFF, "earlier", GuestState.SHUT_DOWN, "the guest powered itself off"),
    ],
)
def test_what_became_of_a_guest_follows_from_its_last_phase(
    phase: Phase, boot: str, state: GuestState, reason: str
) -> None:
    record = msgspec.structs.replace(RECORD, phase=phase, boot_id=boot)
    assert outcome(record, "this", "killed") == (state, reason)


def test_what_was_decided_once_stays() -> None:
    last = GuestLive(uuid=SPEC.uuid, name=SPEC.name, state=GuestState.DIED, reason="fire")
    record = msgspec.structs.replace(RECORD, phase=Phase.ENDED, last=last)
    assert outcome(record, "another", "") == (GuestState.DIED, "fire")


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = Files(tmp_path / "durable", tmp_path / "volatile")
    files.make()
    assert files.read() is None

    files.write(RECORD, durably=True)

    assert files.read() == RECORD
    assert [entry.name for entry in files.durable.iterdir()] == ["record.json"]


def test_the_lock_has_one_holder(tmp_path: Path) -> None:
    files = Files(tmp_path / "durable", tmp_path / "volatile")
    files.make()
    assert not files.held()

    handle = files.lock()
    assert handle is not None
    assert files.held()
    assert files.lock() is None
    os.close(handle)


def test_the_last_errors_are_short_and_without_the_program_s_name(tmp_path: Path) -> None:
    files = Files(tmp_path / "durable", tmp_path / "volatile")
    files.make()
    assert files.last_errors() == ""
    files.errors.write_text("".join(f"qemu-system-x86_64: line {n}\n" for n in range(9)) + "\n")
    assert files.last_errors() == "line 6; line 7; line 8"
