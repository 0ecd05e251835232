"""What is exported here, read by Ganeti's own code; and what that writes, read here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.ganeti import Ganeti, GanetiRefuses
from tests.support.ganeti import ganeti as ganeti
from tests.unit.operations.scene import snapshot, web

from gantry.model import export_config, export_facts
from gantry.model.backup_orders import CONFIG, ExportContents
from gantry.model.entities import Disk, DiskTemplate, HypervisorName, Instance, Nic, NicMode
from gantry.model.export_config import ExportedDisk, ExportedNic
from gantry.model.names import Uuid
from gantry.model.parameters import HYPERVISOR
from gantry.operations.steps import exporting, importing

DISKS = tuple(
    Disk(
        uuid=Uuid(f"00000000-0000-4000-8000-00000000077{number}"),
        size=size,
        template=DiskTemplate.FILE,
        path=f"/srv/ganeti/file-storage/web1/disk{number}",
        name=name,
    )
    for number, (size, name) in enumerate(((10240, "root"), (128, None)))
)
NICS = (
    Nic(
        uuid=Uuid("00000000-0000-4000-8000-000000000881"),
        mac="aa:00:00:0f:42:5b",
        mode=NicMode.BRIDGED,
        link="br0",
        ip="10.0.0.5",
        name="front",
    ),
    Nic(
        uuid=Uuid("00000000-0000-4000-8000-000000000882"),
        mac="aa:00:00:0f:42:5c",
        mode=NicMode.BRIDGED,
        link="br1",
    ),
)
WEB = web(
    1,
    os="debian+bookworm",
    hypervisor=HypervisorName.KVM,
    disk_template=DiskTemplate.FILE,
    disks=DISKS,
    nics=NICS,
    tags=("env:prod", "tier:1"),
    hvparams={"boot_order": "network", "migration_bandwidth": 100, "vnc_bind_address": "0.0.0.0"},
    beparams={"vcpus": 2, "maxmem": 2048},
    osparams={"release": "100% bookworm", "packages": "vim,less", "motd": "ü # not ; a comment"},
    osparams_private={"password": "s3cret%%"},
)


def written(instance: Instance) -> str:
    """The description, as an export of it has it."""
    return export_config.write(exporting.config(snapshot(), instance, 1795189954.5))


def test_ganeti_reads_all_that_it_wants_of_ours(ganeti: Ganeti) -> None:
    found = ganeti.imported(written(WEB))
    assert found["version"] is True
    assert (found["name"], found["os_type"], found["hypervisor"]) == (
        WEB.name, "debian+bookworm", "kvm",
    )  # fmt: skip
    assert found["tags"] == ["env:prod", "tier:1"]
    assert found["disks"] == [{"size": 10240, "name": "root"}, {"size": 128, "name": None}]
    assert found["dumps"] == [disk.uuid for disk in DISKS]
    assert found["nics"] == [
        {
            "mac": nic.mac,
            "ip": nic.ip,
            "name": nic.name,
            "network": None,
            "nicparams": {"mode": "bridged", "link": nic.link},
        }
        for nic in NICS
    ]
    assert found["osparams"] == WEB.osparams
    assert found["osparams_private"] == WEB.osparams_private
    # Whole numbers and truth values again, as Ganeti has them in its own configuration.
    assert found["beparams"]["maxmem"] == 2048
    assert (found["beparams"]["vcpus"], found["beparams"]["auto_balance"]) == (2, True)
    usual = {
        name: value
        for name, value in {**HYPERVISOR[HypervisorName.KVM], **WEB.hvparams}.items()
        if name not in export_config.GLOBAL
    }
    assert found["hvparams"] == usual


def test_ganeti_reads_one_of_raw_content_with_nothing_of_its_own(ganeti: Ganeti) -> None:
    plain = web(2, os="", hypervisor=HypervisorName.FAKE, nics=(), disks=DISKS[:1])
    found = ganeti.imported(written(plain))
    assert (found["nics"], found["os_type"], found["hypervisor"]) == ([], "", "fake")


def test_a_nic_that_ganeti_has_not_is_refused_there_and_not_put_on_a_bridge(
    ganeti: Ganeti,
) -> None:
    user = msgspec.structs.replace(NICS[0], mode=NicMode.USER, link="")
    with pytest.raises(GanetiRefuses, match="Invalid NIC mode 'user'"):
        ganeti.imported(written(web(1, nics=(user,), disks=DISKS)))


def test_what_would_be_refused_there_is_kept_beside_it() -> None:
    """As it means something here: it comes back with the instance."""
    facts = export_facts.encode(exporting.facts(WEB, scripted=False))
    files = {str(disk.uuid): 1 for disk in DISKS}
    read = importing.source(ExportContents(config=written(WEB), facts=facts, files=files))
    assert read.config.hvparams["migration_bandwidth"] == "100"
    assert "migration_mode" not in read.config.hvparams


INSTANCE: dict[str, Any] = {
    "name": "old.example.com",
    "primary_node": "node1.example.com",
    "os": "debootstrap+default",
    "hypervisor": "kvm",
    "hvparams": {"kernel_args": "ro", "migration_port": 8102, "acpi": True, "vga": ""},
    "beparams": {"maxmem": 128, "minmem": 64, "vcpus": 2, "spindle_use": 1, "auto_balance": True},
    "osparams": {"release": "bookworm"},
    "osparams_private": {"password": "s3cret"},
    "tags": ["env:prod"],
    "nics": [
        {"mac": "aa:00:00:00:00:01", "ip": None, "name": None, "network": None,
         "nicparams": {"mode": "bridged", "link": "br0", "vlan": ""}},
        {"mac": "aa:00:00:00:00:02", "ip": "10.0.0.7", "name": "dmz", "network": "net-uuid",
         "nicparams": {"mode": "routed", "link": "100"}},
    ],
    "disks": [
        {"uuid": "dump-0", "iv_name": "disk/0", "size": 1024, "name": None},
        {"uuid": "dump-1", "iv_name": "disk/1", "size": 64, "name": "data"},
    ],
}  # fmt: skip


def test_what_ganeti_writes_is_read_here(ganeti: Ganeti, tmp_path: Path) -> None:
    found = export_config.parse((ganeti.exports(tmp_path, **INSTANCE) / CONFIG).read_text())
    assert abs(found.timestamp - 1.7e9) < 1e9
    assert found == msgspec.structs.replace(
        found,
        source="node1.example.com",
        name="old.example.com",
        os="debootstrap+default",
        hypervisor="kvm",
        disk_template="file",
        maxmem=128,
        minmem=64,
        vcpus=2,
        tags=("env:prod",),
        disks=(
            ExportedDisk(name=None, size=1024, dump="dump-0", visible="disk/0"),
            ExportedDisk(name="data", size=64, dump="dump-1", visible="disk/1"),
        ),
        nics=(
            ExportedNic(mac="aa:00:00:00:00:01", mode="bridged", link="br0"),
            ExportedNic(
                mac="aa:00:00:00:00:02",
                ip="10.0.0.7",
                name="dmz",
                network="net-uuid",
                mode="routed",
                link="100",
            ),
        ),
        hvparams={"kernel_args": "ro", "acpi": "True", "vga": ""},
        osparams={"release": "bookworm"},
        osparams_private={"password": "s3cret"},
    )
    assert found.beparams["auto_balance"] == "True"


def test_all_is_as_it_was_by_way_of_ganeti_s_hands(ganeti: Ganeti, tmp_path: Path) -> None:
    """What is ours here is the same after both have read and written it."""
    config = (ganeti.exports(tmp_path, **INSTANCE) / CONFIG).read_text()
    read = ganeti.imported(export_config.write(export_config.parse(config)))
    assert read == ganeti.imported(config)
