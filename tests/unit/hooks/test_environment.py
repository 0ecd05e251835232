"""What an instance's variables say, beside what the dumps of a real Ganeti hold already."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.hooks.cluster import snapshot
from tests.unit.hooks.situation import disk, nic, rich_instance

from gantry.hooks import environment
from gantry.hooks.entry import Phase
from gantry.hooks.plan import phase_runs
from gantry.hooks.subject import Subject, SubjectKind
from gantry.hooks.table import row
from gantry.model.entities import DiskTemplate, HypervisorName, Instance, NicMode
from gantry.model.errors import GantryError


def told(instance: Instance, opcode: str = "OP_INSTANCE_REBOOT", **fields: Any) -> dict[str, str]:
    subject = Subject(kind=SubjectKind.INSTANCE, instance=instance, **fields)
    return environment.operation(row(opcode), subject, 2, snapshot(2, [instance]))


def test_only_what_has_a_name_tells_it() -> None:
    found = told(rich_instance())
    assert found["INSTANCE_NIC0_NAME"] == "front"
    assert found["INSTANCE_DISK0_NAME"] == "root"
    assert not {"INSTANCE_NIC1_NAME", "INSTANCE_DISK1_NAME"} & found.keys()


@pytest.mark.parametrize("mode", NicMode)
def test_a_bridge_is_told_where_the_link_is_one(mode: NicMode) -> None:
    found = told(rich_instance(nics=(nic(0, mode=mode, link="net7"),)))
    bridged = mode in (NicMode.BRIDGED, NicMode.OPENVSWITCH)
    assert found.get("INSTANCE_NIC0_BRIDGE") == ("net7" if bridged else None)
    assert found["INSTANCE_NIC0_LINK"] == "net7"
    assert (found["INSTANCE_NIC0_IP"], found["INSTANCE_NIC0_VLAN"]) == ("", "")


def test_the_disk_template_is_that_of_the_disks() -> None:
    shared = disk(1, template=DiskTemplate.SHAREDFILE)
    for disks, expected in (
        ((), "diskless"),
        ((disk(0),), "file"),
        ((shared,), "sharedfile"),
        ((disk(0), shared), "mixed"),
    ):
        found = told(rich_instance(disks=disks))
        for name in ("INSTANCE_DISK_TEMPLATE", "INSTANCE_DISK_TYPE", "DISK_TEMPLATE"):
            assert found[name] == expected


def test_without_disks_no_size_is_told() -> None:
    found = told(rich_instance(disks=()))
    assert found["INSTANCE_DISK_COUNT"] == "0"
    assert found["INSTANCE_DISK_SIZES"] == ""
    assert not {"DISK_SIZE", "SWAP_SIZE", "INSTANCE_DISK_SIZE"} & found.keys()


def test_disks_that_are_not_made_yet_have_neither_uuid_nor_place() -> None:
    found = told(rich_instance(), new_disks=True)
    assert found["INSTANCE_DISK0_UUID"] == ""
    assert found["INSTANCE_DISK0_DEV_TYPE"] == found["INSTANCE_DISK1_DEV_TYPE"] == "file"
    sizes = [found[f"INSTANCE_DISK{index}_SIZE"] for index in (0, 1)]
    assert found["INSTANCE_DISK_SIZES"] == " ".join(sizes)
    assert not {"INSTANCE_DISK0_ID", "INSTANCE_DISK0_DRIVER"} & found.keys()


def test_a_change_shows_its_memory_vcpus_and_nics_and_nothing_else() -> None:
    before = rich_instance()
    after = msgspec.structs.replace(
        before,
        beparams={"minmem": 512, "maxmem": 1024, "vcpus": 8},
        nics=(),
        tags=("new",),
        disks=(),
    )
    found = told(before, "OP_INSTANCE_SET_PARAMS", chosen=after)
    assert found["INSTANCE_MINMEM"] == "512"
    assert {found[name] for name in ("INSTANCE_MAXMEM", "INSTANCE_MEMORY", "MEM_SIZE")} == {"1024"}
    assert {found[name] for name in ("INSTANCE_VCPUS", "VCPUS")} == {"8"}
    assert found["INSTANCE_NIC_COUNT"] == "0"
    assert "INSTANCE_IP" not in found
    assert (found["INSTANCE_BE_maxmem"], found["INSTANCE_BE_vcpus"]) == ("256", "2")
    assert (found["INSTANCE_TAGS"], found["INSTANCE_DISK_COUNT"]) == ("a b", "2")


def test_parameters_are_filled_from_all_levels_under_their_own_names() -> None:
    instance = rich_instance(
        hypervisor=HypervisorName.KVM, hvparams={"acpi": False}, beparams={"vcpus": 2}
    )
    whole = snapshot(
        2,
        [instance],
        beparams={"auto_balance": False},
        hvparams={"kvm": {"kernel_path": "/boot/guest"}},
    )
    subject = Subject(kind=SubjectKind.INSTANCE, instance=instance)
    found = environment.operation(row("OP_INSTANCE_REBOOT"), subject, 2, whole)
    assert found["INSTANCE_HV_acpi"] == "False"
    assert found["INSTANCE_HV_kernel_path"] == "/boot/guest"
    assert found["INSTANCE_HV_serial_console"] == "True"
    assert found["INSTANCE_BE_auto_balance"] == "False"
    assert (found["INSTANCE_BE_vcpus"], found["INSTANCE_BE_maxmem"]) == ("2", "128")


def test_no_os_parameter_is_told() -> None:
    instance = rich_instance(osparams={"key": "seen"}, osparams_private={"token": "hidden"})
    assert not {"seen", "hidden"} & set(told(instance).values())


def test_a_variable_that_the_table_does_not_name_is_refused() -> None:
    with pytest.raises(GantryError, match="OP_INSTANCE_REBOOT has no hook variable SURPRISE"):
        told(rich_instance(), values={"SURPRISE": 1})


def test_version_1_may_send_another_value_or_none() -> None:
    instance = rich_instance()
    subject = Subject(
        kind=SubjectKind.INSTANCE,
        instance=instance,
        values={"TIMEOUT": 5},
        seed_values={"TIMEOUT": None, "SPECIAL": 1},
    )
    first, second = (
        environment.operation(
            row("OP_INSTANCE_SHUTDOWN"), subject, version, snapshot(2, [instance])
        )
        for version in (1, 2)
    )
    assert ("TIMEOUT" in first, first["SPECIAL"]) == (False, "1")
    assert (second["TIMEOUT"], "SPECIAL" in second) == ("5", False)


def test_node_tags_have_a_name_that_a_shell_can_read() -> None:
    subject = Subject(kind=SubjectKind.CLUSTER)
    found = environment.operation(row("OP_CLUSTER_VERIFY"), subject, 1, snapshot())
    assert found["NODE_TAGS_node1.example.com"] == found["NODE_TAGS_node1_example_com"] == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("MEM_SIZE", "INSTANCE_MEMORY"),
        ("VCPUS", "INSTANCE_VCPUS"),
        ("DISK_TEMPLATE", "INSTANCE_DISK_TEMPLATE"),
        ("INSTANCE_OS", "INSTANCE_OS_TYPE"),
        ("INSTANCE_SECONDARIES", "INSTANCE_SECONDARY"),
        ("INSTANCE_IP", "INSTANCE_NIC0_IP"),
    ],
)
def test_both_names_of_a_thing_have_the_same_value(first: str, second: str) -> None:
    found = told(rich_instance())
    assert found[first] == found[second] != ""


def test_an_import_has_both_names_of_its_source() -> None:
    values = {"ADD_MODE": "import", "SRC_IMAGES": ["disk0.img", "disk1.img"]}
    found = told(rich_instance(), "OP_INSTANCE_CREATE", values=values)
    assert found["ADD_MODE"] == found["INSTANCE_ADD_MODE"] == "import"
    assert found["SRC_IMAGES"] == "['disk0.img', 'disk1.img']"
    assert found["SRC_IMAGE"] == "disk0.img"


@pytest.mark.parametrize("opcode", ["OP_CLUSTER_IP_TURNUP", "OP_CLUSTER_IP_TURNDOWN"])
def test_the_scripts_of_the_masters_address_are_told_the_truth(opcode: str) -> None:
    """Ganeti sends the arguments in a wrong order, and no MASTER."""
    values = {"MASTER_NETDEV": "eth0", "MASTER_IP": "192.0.2.1", "MASTER_NETMASK": 24}
    subject = Subject(
        kind=SubjectKind.CLUSTER, values=values, extra_nodes=(snapshot().cluster.master_node,)
    )
    for phase in Phase:
        [run] = phase_runs(opcode, phase, snapshot(2), subject, snapshot(2), subject)
        found = run.environments["2"]
        assert found["GANETI_CLUSTER"] == "cluster.example.com"
        assert found["GANETI_MASTER"] == "node1.example.com"
        assert found["GANETI_OBJECT_TYPE"] == "CLUSTER"
        assert found["GANETI_MASTER_NETDEV"] == "eth0"
        assert "GANETI_OP_TARGET" not in found


@pytest.mark.parametrize("opcode", ["OP_NETWORK_CONNECT", "OP_NETWORK_DISCONNECT"])
def test_connecting_a_network_tells_of_the_network(opcode: str) -> None:
    """Ganeti's documentation promises it, its code leaves it out."""
    values = {"GROUP_NAME": "default", "NETWORK_NAME": "front", "NETWORK_SUBNET": "192.0.2.0/24"}
    subject = Subject(kind=SubjectKind.NETWORK, values=values)
    found = environment.operation(row(opcode), subject, 2, snapshot(2))
    assert found == values


def test_a_renamed_instance_keeps_its_old_name_in_the_second_set() -> None:
    before = snapshot(2, [rich_instance()])
    subject = Subject(
        kind=SubjectKind.INSTANCE,
        instance=rich_instance(),
        values={"INSTANCE_NEW_NAME": "new.example.com"},
    )
    run, *_ = phase_runs("OP_INSTANCE_RENAME", Phase.POST, before, subject, before, subject)
    found = run.environments["2"]
    assert found["GANETI_POST_INSTANCE_NAME"] == found["GANETI_INSTANCE_NAME"] == "web1.example.com"
    assert found["GANETI_POST_INSTANCE_NEW_NAME"] == "new.example.com"
