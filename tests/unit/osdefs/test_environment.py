"""The environments of the scripts, compared with what Ganeti 3.0.2 gave them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gantry.model.entities import DiskMode, DiskTemplate, NicMode, ParameterValue
from gantry.model.errors import Rejected
from gantry.model.live import OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, NicSpec, OsRun
from gantry.osdefs import environment

GOLDEN = Path(__file__).parents[2] / "golden" / "os"
CAPTURE = OsFacts(
    name="capture",
    path="/srv/ganeti/os/capture",
    variants=("default", "special"),
    parameters=(("release", "the release"), ("role", "the role")),
    api_versions=(10, 15, 20),
)
OURS = {"INSTANCE_PRIMARY_NODE_NAME", "INSTANCE_SECONDARY_NODE_NAMES"}
"""What we add (OS interface, section 8)."""


def golden(name: str) -> dict[str, str]:
    text = (GOLDEN / name).read_text()
    section = text.split("[env] order as received\n")[1].split("[env-count]")[0]
    return dict(line.split("=", 1) for line in section.splitlines())


def without_ours(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in OURS}


def run_of(seen: dict[str, str], parameters: dict[str, str]) -> tuple[OsRun, list[str]]:
    """The instance that a dump is about, as an order would describe it."""
    disks = tuple(
        DiskSpec(
            uuid=Uuid(seen[f"DISK_{n}_UUID"]),
            index=n,
            size=int(seen[f"DISK_{n}_SIZE"]),
            path="/elsewhere",
            template=DiskTemplate.FILE,
            mode=DiskMode(seen[f"DISK_{n}_ACCESS"]),
            name=seen.get(f"DISK_{n}_NAME"),
        )
        for n in range(int(seen["DISK_COUNT"]))
    )
    nics = tuple(
        NicSpec(
            uuid=Uuid(seen[f"NIC_{n}_UUID"]),
            index=n,
            mac=seen[f"NIC_{n}_MAC"],
            mode=NicMode.BRIDGED,
            link="br0",
            ip=seen.get(f"NIC_{n}_IP"),
            name=seen.get(f"NIC_{n}_NAME"),
        )
        for n in range(int(seen["NIC_COUNT"]))
    )
    beparams: dict[str, ParameterValue] = {
        "vcpus": int(seen["INSTANCE_BE_vcpus"]),
        "minmem": int(seen["INSTANCE_BE_minmem"]),
        "maxmem": int(seen["INSTANCE_BE_maxmem"]),
        "spindle_use": 1,
        "auto_balance": True,
        "always_failover": False,
    }
    run = OsRun(
        os=seen["INSTANCE_OS"],
        uuid=Uuid(seen["INSTANCE_UUID"]),
        name=seen["INSTANCE_NAME"],
        hypervisor="fake",
        ctime=float(seen["INSTANCE_CTIME"]),
        mtime=float(seen["INSTANCE_MTIME"]),
        primary_node=(Uuid(seen["INSTANCE_PRIMARY_NODE"]), "node1.example.com"),
        disks=disks,
        nics=nics,
        parameters=parameters,
        beparams=beparams,
        hvparams={"migration_mode": "live"},
    )
    return run, [seen[f"DISK_{n}_PATH"] for n in range(len(disks))]


def plain_run(**changes: object) -> OsRun:
    run = OsRun(
        os="capture+default",
        uuid=Uuid("3561a026-8e1d-4c30-b8b5-39470f8b8b75"),
        name="web1.example.com",
        hypervisor="kvm",
        ctime=1.5,
        mtime=2.25,
        primary_node=(Uuid("uuid-1"), "node1.example.com"),
    )
    return msgspec.structs.replace(run, **changes)


def test_create_gets_what_ganeti_gives_it() -> None:
    seen = golden("02-instance-add-file/04-node2-capture-create.txt")
    run, paths = run_of(seen, {"release": "bookworm", "role": "web"})
    assert without_ours(environment.create(CAPTURE, run, paths)) == seen


def test_create_of_a_reinstallation_gets_what_ganeti_gives_it() -> None:
    seen = golden("11-instance-reinstall/03-node1-capture-create.txt")
    run, paths = run_of(seen, {"release": "trixie"})
    assert without_ours(environment.create(CAPTURE, run, paths, reinstall=True)) == seen


@pytest.mark.parametrize(
    ("name", "old_name"),
    [
        ("52-instance-rename/02-node1-capture-rename.txt", "web2.example.com"),
        ("76-import/06-node1-capture-rename.txt", "web2.example.com"),
    ],
)
def test_rename_gets_what_ganeti_gives_it(name: str, old_name: str) -> None:
    seen = golden(name)
    run, paths = run_of(seen, {"release": "bookworm"})
    assert without_ours(environment.rename(CAPTURE, run, paths, old_name=old_name)) == seen


UNCLEAN = {
    "SHELL", "HOME", "USER", "LOGNAME", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "PWD", "OLDPWD",
    "SHLVL", "_",
}  # fmt: skip
"""What Ganeti's import-export daemon lets through, against what its manual says."""


def clean(seen: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in seen.items() if name not in UNCLEAN}


def test_export_gets_what_ganeti_gives_it_and_nothing_of_its_daemon() -> None:
    seen = golden("53-instance-export-stopped/02-node1-capture-export.txt")
    run, paths = run_of(seen, {"release": "bookworm"})
    mine = environment.export(CAPTURE, run, paths, index=0, device=paths[0], size_descriptor=11)
    assert without_ours(mine) == clean(seen)


def test_import_gets_what_ganeti_gives_it_and_nothing_of_its_daemon() -> None:
    seen = golden("76-import/05-node1-capture-import.txt")
    run, paths = run_of(seen, {"release": "bookworm"})
    mine = environment.import_disk(CAPTURE, run, paths, index=0, size_descriptor=11)
    assert without_ours(mine) == clean(seen)


def test_a_snapshot_is_exported_and_the_disk_s_own_path_stays() -> None:
    run = plain_run(debug_level=1)
    found = environment.export(CAPTURE, run, [], index=2, device="/dev/snapshot")
    assert (found["EXPORT_DEVICE"], found["EXPORT_DISK_PATH"]) == ("/dev/snapshot",) * 2
    assert (found["EXPORT_INDEX"], found["DEBUG_LEVEL"]) == ("2", "0")
    assert "EXP_SIZE_FD" not in found


@pytest.mark.parametrize(
    ("name", "variant", "parameters"),
    [
        (
            "02-instance-add-file/01-node2-capture-verify.txt",
            "special",
            {"release": "bookworm", "role": "web"},
        ),
        ("07-instance-modify-be/01-node1-capture-verify.txt", "default", {"release": "trixie"}),
        ("11-instance-reinstall/01-node1-capture-verify.txt", "special", {"release": "trixie"}),
        ("76-import/03-node1-capture-verify.txt", "default", {"release": "bookworm"}),
    ],
)
def test_verify_gets_what_ganeti_gives_it(
    name: str, variant: str, parameters: dict[str, str]
) -> None:
    assert environment.core(CAPTURE, variant, parameters) == golden(name)


def test_nodes_are_given_as_uuids_and_as_names() -> None:
    run = plain_run(secondary_nodes=((Uuid("uuid-2"), "node2"), (Uuid("uuid-3"), "node3")))
    seen = environment.instance(run, [])
    assert seen["INSTANCE_PRIMARY_NODE"] == "uuid-1"
    assert seen["INSTANCE_PRIMARY_NODE_NAME"] == "node1.example.com"
    assert seen["INSTANCE_SECONDARY_NODES"] == "uuid-2 uuid-3"
    assert seen["INSTANCE_SECONDARY_NODE_NAMES"] == "node2 node3"


def test_types_of_disks_and_nics_are_told_where_the_hypervisor_has_them() -> None:
    disk = DiskSpec(
        uuid=Uuid("d"),
        index=0,
        size=1,
        path="/x",
        template=DiskTemplate.SHAREDFILE,
        driver="blktap",
    )
    nic = NicSpec(uuid=Uuid("n"), index=0, mac="aa:00:00:00:00:01", mode=NicMode.USER)
    hvparams = {"disk_type": "paravirtual", "nic_type": "e1000", "acpi": True, "mem_path": None}
    seen = environment.instance(plain_run(disks=(disk,), nics=(nic,), hvparams=hvparams), ["/real"])
    assert seen["DISK_0_PATH"] == "/real"
    assert seen["DISK_0_BACKEND_TYPE"] == "file:blktap"
    assert seen["DISK_0_FRONTEND_TYPE"] == "paravirtual"
    assert seen["NIC_0_FRONTEND_TYPE"] == "e1000"
    assert seen["NIC_0_MODE"] == "user"
    assert not {"NIC_0_BRIDGE", "NIC_0_LINK", "NIC_0_IP", "NIC_0_NAME", "DISK_0_NAME"} & set(seen)
    assert seen["INSTANCE_HV_acpi"] == "True"
    assert seen["INSTANCE_HV_mem_path"] == "None"


def test_a_bridge_is_told_only_in_mode_bridged() -> None:
    nics = tuple(
        NicSpec(uuid=Uuid("n"), index=0, mac="aa:00:00:00:00:01", mode=mode, link="sw1")
        for mode in (NicMode.BRIDGED, NicMode.OPENVSWITCH, NicMode.ROUTED)
    )
    seen = environment.instance(plain_run(nics=nics), [])
    assert seen["NIC_0_BRIDGE"] == seen["NIC_0_LINK"] == seen["NIC_1_LINK"] == "sw1"
    assert {"NIC_1_BRIDGE", "NIC_2_BRIDGE"}.isdisjoint(seen)


def test_every_disk_needs_its_path() -> None:
    disk = DiskSpec(uuid=Uuid("d"), index=0, size=1, path="/x", template=DiskTemplate.FILE)
    with pytest.raises(ValueError, match="zip"):
        environment.instance(plain_run(disks=(disk,)), [])


def test_parameters_of_all_kinds_are_given_in_upper_case_with_underscores() -> None:
    run = plain_run(parameters={"root-size": "5"}, private_parameters={"key": "k"})
    seen = environment.create(CAPTURE, run, [], secrets={"password": "p=\nq"})
    given = {name: value for name, value in seen.items() if name.startswith("OSP_")}
    assert given == {"OSP_ROOT_SIZE": "5", "OSP_KEY": "k", "OSP_PASSWORD": "p=\nq"}


def test_a_parameter_of_two_kinds_is_refused_without_its_value() -> None:
    with pytest.raises(Rejected, match=re.escape("'key' (public) and 'key' (secret)")) as caught:
        environment.merge({"key": "aaaa"}, {}, {"key": "hunter2"})
    assert "hunter2" not in str(caught.value.info())


def test_two_parameters_that_become_one_variable_are_refused() -> None:
    with pytest.raises(Rejected, match="OSP_A_B"):
        environment.merge({"a-b": "1", "A_b": "2"}, {}, {})


def test_a_value_that_no_variable_can_hold_is_refused() -> None:
    with pytest.raises(Rejected, match="'key'"):
        environment.merge({"key": "a\0b"}, {}, {})


@pytest.mark.parametrize("template", [one for one in DiskTemplate if one != "diskless"])
@pytest.mark.parametrize("mode", NicMode)
def test_neither_networks_nor_uris_are_told_of(template: DiskTemplate, mode: NicMode) -> None:
    """As to a script of Ganeti's, of a NIC without network and a disk with a path on the node."""
    seen = golden("53-instance-export-stopped/02-node1-capture-export.txt")
    run, paths = run_of(seen, {})
    run = msgspec.structs.replace(
        run,
        disks=tuple(msgspec.structs.replace(disk, template=template) for disk in run.disks),
        nics=tuple(msgspec.structs.replace(nic, mode=mode) for nic in run.nics),
    )
    for found in (
        environment.create(CAPTURE, run, paths),
        environment.rename(CAPTURE, run, paths, old_name="web2.example.com"),
        environment.export(CAPTURE, run, paths, index=0, device=paths[0]),
        environment.import_disk(CAPTURE, run, paths, index=0),
    ):
        assert (found["DISK_0_PATH"], found["NIC_0_MODE"]) == (paths[0], mode.value)
        assert not [name for name in found if name.endswith("_URI") or "_NETWORK_" in name]
    assert not [name for name in seen if name.endswith("_URI") or "_NETWORK_" in name]


def test_an_old_definition_is_told_the_version_that_both_sides_know() -> None:
    old = OsFacts(name="old", path="/old", api_versions=(5, 10, 25))
    assert environment.core(old, "", {})["OS_API_VERSION"] == "10"
    assert environment.core(old, "", {})["OS_VARIANT"] == ""
