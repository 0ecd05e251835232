"""What commands write, character for character; after a wanted change run with GOLDEN=write."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Commands

from gantry.model.errors import ErrorInfo, Reason
from gantry.model.jobs import JobStatus
from gantry.model.names import JobId

USER = pwd.getpwuid(os.getuid()).pw_name
GOLDEN = Path(__file__).parents[2] / "golden/cli"
COMMANDS = {
    "instance-list": "gnt-instance list",
    "instance-list-json": "gnt-instance list --json -o name,status,be/maxmem,tags,oper_ram",
    "instance-list-scripts": (
        "gnt-instance list --no-headers --separator=: -o name,be/maxmem,admin_state,nic.ips"
    ),
    "instance-list-units": "gnt-instance list --units g -o name,be/maxmem,oper_ram",
    "instance-list-verbose": "gnt-instance list -v -o name,oper_ram,nic.mac/0",
    "instance-list-fields": "gnt-instance list-fields name status oper_ram be/maxmem nic.mac/N",
    "instance-info": "gnt-instance info web1",
    "node-list": "gnt-node list",
    "node-list-json": "gnt-node list --json",
    "node-list-fields": "gnt-node list-fields",
    "node-info": "gnt-node info node1",
    "group-list": "gnt-group list",
    "job-list": "gnt-job list",
    "job-list-fields": "gnt-job list-fields",
    "job-info": "gnt-job info 2",
    "cluster-info": "gnt-cluster info",
}


async def jobs(gnt: Commands) -> None:
    """One that has succeeded, one that has failed, one that runs."""
    for line in ("gnt-instance start", "gnt-instance stop", "gnt-instance reboot"):
        await gnt(f"{line} --submit web1 --reason", "golden")
    await gnt.queue.end(JobId(1))
    await gnt.queue.say(JobId(2), "stopping web1.example.com")
    error = ErrorInfo(
        code="rejected", message="no such thing", reason=Reason.STATE, hint="do another thing"
    )
    await gnt.queue.end(JobId(2), JobStatus.ERROR, error)
    await gnt.queue.begin(JobId(3))


@pytest.mark.parametrize("name", COMMANDS)
async def test_output_is_as_recorded(gnt: Commands, name: str) -> None:
    await jobs(gnt)
    done = await gnt(COMMANDS[name])
    assert (done.status, done.err) == (0, "")
    shown = done.out.replace(f"requester: {USER}\n", "requester: operator\n")
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.write_text(shown)
    assert shown == file.read_text()


def test_every_record_belongs_to_a_command() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(COMMANDS)
