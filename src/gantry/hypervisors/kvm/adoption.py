"""Finding the guests again that an earlier agent left, and the truth about those that ended.

The lock says whether a guest's process exists (see ``record``); its pid is then the recorded
one if the start time fits, else whoever holds the lock's file open. Nothing is started here.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

import msgspec

from gantry.host import daemon, machine
from gantry.host.daemon import Daemon, Identity
from gantry.hypervisors.kvm import sockets
from gantry.hypervisors.kvm.record import Files, Phase, Record, outcome
from gantry.hypervisors.kvm.running import Owner, Running
from gantry.hypervisors.kvm.serial import Serial
from gantry.model.live import GuestLive
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec

ANSWER_WITHIN: Final = 5.0
"""Seconds for QEMU to answer; one that does not is adopted all the same."""
_log = logging.getLogger(__name__)


async def adopt(uuid: Uuid, files: Files, logs: Path, owner: Owner) -> Running | GuestLive | None:
    """The guest as found: running, ended, or None where nothing is known of it."""
    record = _read(uuid, files)
    if files.held():
        process = _find(record, files)
        if process is not None:
            return await _running(record or _unknown(uuid), files, process, logs, owner)
    if record is None:
        files.remove()
        return None
    return _ended(record, files)


def _read(uuid: Uuid, files: Files) -> Record | None:
    try:
        return files.read()
    except (msgspec.DecodeError, OSError) as error:
        _log.warning("the record of guest %s cannot be read: %s", uuid, error)
        return None


def _unknown(uuid: Uuid) -> Record:
    """A guest that runs and of which no more is known: it must be seen, not hidden."""
    spec = GuestSpec(uuid=uuid, name=uuid, hypervisor="kvm", memory=0, vcpus=0)
    return Record(spec=spec, phase=Phase.UP, boot_id=machine.boot_id(), since=time.time())


def _find(record: Record | None, files: Files) -> Daemon | None:
    recorded = Identity(record.pid, record.started) if record and record.pid else None
    if recorded is not None:
        process = Daemon.adopt(recorded)
        if process is not None:
            return process
    holder = daemon.holder(files.durable / "lock")
    return Daemon.adopt(holder) if holder is not None else None


async def _running(
    record: Record, files: Files, process: Daemon, logs: Path, owner: Owner
) -> Running:
    found = process.identity
    phase = Phase.UP if record.phase in (Phase.ENDED, Phase.STARTING) else record.phase
    record = msgspec.structs.replace(
        record, pid=found.pid, started=found.started, phase=phase, boot_id=machine.boot_id()
    )
    running = Running(record, files, process, owner)
    if (files.volatile / "serial").exists():
        try:
            connection = sockets.connect(files.volatile, "serial")
        except OSError as error:
            _log.warning("the console of %s cannot be read: %s", record.spec.name, error)
        else:
            log = logs / f"{record.spec.name}.log"
            running.serial = await Serial.open(connection, log)
    await running.refresh(ANSWER_WITHIN)
    return running


def _ended(record: Record, files: Files) -> GuestLive:
    state, reason = outcome(record, machine.boot_id(), files.last_errors())
    if record.phase is Phase.ENDED and record.last is not None:
        return record.last
    last = GuestLive(
        uuid=record.spec.uuid,
        name=record.spec.name,
        state=state,
        since=time.time(),
        vcpus=record.spec.vcpus,
        reason=reason,
    )
    files.write(msgspec.structs.replace(record, phase=Phase.ENDED, last=last), durably=True)
    return last
