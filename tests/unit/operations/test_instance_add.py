"""What may become an instance, where it goes, and what is refused with nothing touched."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.operations.scene import (
    ADD,
    FILE,
    NODE1,
    NODE2,
    NODE3,
    Given,
    check,
    facts,
    live,
    snapshot,
    web,
)
from tests.unit.operations.steps import Written

from gantry.model import locks
from gantry.model.entities import AdminState, DiskTemplate, HypervisorName, Nic, NicMode
from gantry.model.errors import Reason, Rejected
from gantry.model.live import HypervisorFacts, NodeLive, OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import GuestStart, GuestStop
from gantry.model.snapshot import Claim
from gantry.operations import registry
from gantry.operations.instance.add import AddPlan

TAKEN = Nic(
    uuid=Uuid("n"), mac="aa:00:00:00:00:01", mode=NicMode.BRIDGED, link="br0", ip="10.0.0.5"
)


def refused(op: dict[str, Any], cluster: Any = None, **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(cluster or snapshot(), {**op, **changes})
    return caught.value


def test_an_instance_gets_everything_that_was_asked_for() -> None:
    plan: AddPlan = check(
        snapshot(),
        {
            **FILE,
            "pnode": "node2",
            "disks": [
                {"size": "1G", "name": "root"},
                {"size": 64, "mode": "ro", "format": "qcow2"},
            ],
            "nics": [{"link": "br1", "ip": "10.0.0.9"}],
            "beparams": {"memory": "512M", "vcpus": 2},
            "tags": ["b", "a", "b"],
        },
    )
    made = plan.instance
    assert made.name == "new.example.com"
    assert made.primary_node == NODE2
    assert [(disk.size, disk.mode, disk.format) for disk in made.disks] == [
        (1024, "rw", "raw"),
        (64, "ro", "qcow2"),
    ]
    assert made.disks[0].path.startswith("/srv/ganeti/file-storage/new.example.com/")
    assert made.beparams == {"maxmem": 512, "minmem": 512, "vcpus": 2}
    assert made.tags == ("a", "b")
    assert made.admin_state is AdminState.UP
    assert made.machine == "fake-1.0"
    assert plan.claims == (Claim(node=NODE2, memory=512, disk=1088),)
    assert set(plan.reserve) == {
        "name/new.example.com",
        f"mac/{made.nics[0].mac}",
        "ip/br1/10.0.0.9",
    }


def test_a_plan_survives_json() -> None:
    plan = check(snapshot(), {**FILE, "nics": [{}]})
    assert msgspec.json.decode(msgspec.json.encode(plan), type=AddPlan) == plan


def test_it_locks_its_name_and_the_named_node() -> None:
    needs = registry.load({**ADD, "pnode": "node2"}).needs(snapshot())
    assert (locks.instance("new.example.com"), "exclusive") in needs.locks
    assert (locks.node(NODE2), "shared") in needs.locks
    assert locks.node(NODE1) not in dict(needs.locks)


@pytest.mark.parametrize(
    "name",
    ["../x", "web1/../../etc", "", ".", "-x.example.com", "x-.example.com", "a b", "web\n1",
     "wéb", "a..b", "x" * 64, ".".join(["abcdefgh"] * 30), "web_1", "web1;reboot", "\0"],
)  # fmt: skip
def test_refuses_names_that_are_no_host_names(name: str) -> None:
    assert "is not a host name" in refused(ADD, instance_name=name).message


def test_a_name_is_taken_in_lower_case_and_without_the_last_dot() -> None:
    assert check(snapshot(), {**ADD, "instance_name": "New.Example.COM."}).instance.name == (
        "new.example.com"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("web1.example.com", Reason.EXISTS),
        ("node1.example.com", Reason.NOT_UNIQUE),
        ("cluster.example.com", Reason.NOT_UNIQUE),
    ],
)
def test_refuses_names_that_are_taken(name: str, reason: Reason) -> None:
    assert refused(ADD, instance_name=name).reason is reason


@pytest.mark.parametrize(
    "size",
    ["-1", -1, "0", 0, "10X", "1e3", "", " ", "1,5G", "G", "0x10", "١٢", "512B", "9" * 5000,
     "0.", "1.5.5G", "99999999999T"],
)  # fmt: skip
def test_refuses_sizes_that_are_none(size: object) -> None:
    assert "disk 0" in refused(FILE, disks=[{"size": size}]).message


def test_refuses_more_disk_than_the_named_node_has() -> None:
    error = refused(FILE, disks=[{"size": "101G"}], pnode="node1")
    assert error.message == (
        "instance new.example.com needs 103424 MiB of disk, node node1.example.com has "
        "102400 MiB left"
    )
    assert error.reason is Reason.NO_RESOURCES


def test_refuses_more_disk_than_any_node_has_and_says_what_each_has() -> None:
    message = refused(FILE, disks=[{"size": "101G"}]).message
    assert "node3.example.com: 4096 MiB memory, 102400 MiB disk" in message


def test_disks_of_running_jobs_count() -> None:
    cluster = snapshot(claims=(Claim(node=NODE1, disk=102000),))
    refused(FILE, cluster, disks=[{"size": 500}], pnode="node1")
    assert check(cluster, {**FILE, "disks": [{"size": 500}]}).instance.primary_node != NODE1


def test_shared_disks_are_not_measured_by_the_nodes_own_disk() -> None:
    plan = check(snapshot(), {**FILE, "disk_template": "sharedfile", "disks": [{"size": "1T"}]})
    assert plan.instance.disks[0].path.startswith("/srv/ganeti/shared-file-storage/")
    assert plan.claims[0].disk == 0


def test_refuses_more_memory_than_the_named_node_has() -> None:
    error = refused(ADD, beparams={"memory": "8G"}, pnode="node1")
    assert "needs 8192 MiB of memory, node node1.example.com has 4096 MiB left" in error.message


def test_refuses_more_memory_than_any_node_has() -> None:
    assert refused(ADD, beparams={"memory": "8G"}).reason is Reason.NO_RESOURCES


def test_memory_of_instances_that_should_be_up_counts_though_they_are_down() -> None:
    other = web(2, admin_state=AdminState.UP, beparams={"maxmem": 4000, "minmem": 4000})
    refused(ADD, snapshot(other), pnode="node1")


def test_memory_of_running_jobs_counts() -> None:
    refused(ADD, snapshot(claims=(Claim(node=NODE1, memory=4000),)), pnode="node1")


def test_memory_does_not_count_for_what_is_not_started() -> None:
    plan = check(snapshot(), {**ADD, "beparams": {"memory": "8G"}, "start": False})
    assert plan.instance.admin_state is AdminState.DOWN
    assert plan.claims[0].memory == 0


def test_without_a_node_the_one_with_most_free_memory_is_taken() -> None:
    nodes = {NODE2: live(facts(memory_total=9000))}
    assert check(snapshot(nodes=nodes), ADD).instance.primary_node == NODE2


@pytest.mark.parametrize(
    ("nodes", "change"),
    [
        ({NODE2: NodeLive(reachable=False, facts=facts(memory_total=9000))}, {}),
        ({NODE2: live(facts(memory_total=9000))}, {NODE2: {"offline": True}}),
        ({NODE2: live(facts(memory_total=9000))}, {NODE2: {"drained": True}}),
        ({NODE2: live(facts(memory_total=9000))}, {NODE2: {"vm_capable": False}}),
        ({NODE2: live(facts(memory_total=9000, hypervisors={}))}, {}),
    ],
)
def test_a_node_that_takes_none_is_passed_over(nodes: Any, change: Any) -> None:
    assert check(snapshot(nodes=nodes, change=change), ADD).instance.primary_node != NODE2


@pytest.mark.parametrize(
    ("nodes", "change", "says"),
    [
        ({NODE2: NodeLive(reachable=False, problem="refused")}, {}, "does not answer (refused)"),
        ({}, {NODE2: {"offline": True}}, "is marked offline"),
        ({}, {NODE2: {"drained": True}}, "is drained"),
        ({}, {NODE2: {"vm_capable": False}}, "is not vm_capable"),
        (
            {NODE2: live(facts(hypervisors={"fake": HypervisorFacts(available=False, why="no")}))},
            {},
            "does not run hypervisor fake: no",
        ),
    ],
)
def test_a_named_node_that_takes_none_is_refused(nodes: Any, change: Any, says: str) -> None:
    error = refused(ADD, snapshot(nodes=nodes, change=change), pnode="node2")
    assert says in error.message
    assert error.hint
    assert error.node == "node2.example.com"


def test_refuses_where_no_node_answers() -> None:
    silent = {node: NodeLive(reachable=False) for node in (NODE1, NODE2, NODE3)}
    assert "no node takes new instances" in refused(ADD, snapshot(nodes=silent)).message


def test_refuses_unknown_nodes() -> None:
    assert refused(ADD, pnode="node9").reason is Reason.UNKNOWN


@pytest.mark.parametrize("hypervisor", ["kvm", "xen-pvm", ""])
def test_refuses_hypervisors_that_are_not_enabled(hypervisor: str) -> None:
    assert "is not enabled" in refused(ADD, hypervisor=hypervisor).message


@pytest.mark.parametrize(("template", "says"), [("drbd", "no disk template"), ("x/y", "no disk")])
def test_refuses_templates_that_do_not_exist(template: str, says: str) -> None:
    assert says in refused(FILE, disk_template=template).message


def test_refuses_templates_that_are_not_enabled() -> None:
    cluster = snapshot(enabled_disk_templates=(DiskTemplate.DISKLESS,))
    assert "is not enabled" in refused(FILE, cluster).message


def test_refuses_disks_for_a_diskless_one_and_none_for_others() -> None:
    assert "has no disks" in refused(ADD, disks=[{"size": 1}]).message
    assert "size of the disk is missing" in refused(FILE, disks=[]).message


def test_refuses_a_seventeenth_disk_and_a_ninth_nic() -> None:
    assert "at most 16 disks" in refused(FILE, disks=[{"size": 1}] * 17).message
    assert "at most 8 NICs" in refused(ADD, nics=[{}] * 9).message
    assert len(check(snapshot(), {**FILE, "disks": [{"size": 1}] * 16}).instance.disks) == 16


def test_a_nic_is_put_into_no_network() -> None:
    error = refused(ADD, nics=[{"network": "dmz"}])
    assert "there is no network 'dmz'" in error.message
    [nic] = check(snapshot(), {**ADD, "nics": [{"network": "none"}]}).instance.nics
    assert nic.link


def test_refuses_disks_without_an_os_to_put_there() -> None:
    assert "the OS definition is missing" in refused(FILE, os_type=None).message
    plan = check(snapshot(), {**FILE, "os_type": None, "no_install": True})
    assert not plan.installing
    assert not plan.start


@pytest.mark.parametrize("name", ["../noop", "noop/..", "no op", "noop+a/b"])
def test_refuses_names_that_are_no_os_names(name: str) -> None:
    assert "is not the name of an OS definition" in refused(ADD, os_type=name).message


def test_refuses_an_os_that_the_node_has_not() -> None:
    error = refused(ADD, os_type="debian", pnode="node1")
    assert error.message == "node node1.example.com has no OS definition 'debian'"
    assert "gnt-os diagnose" in error.hint


def test_refuses_an_os_that_is_not_valid() -> None:
    broken = OsFacts(name="noop", path="/srv/ganeti/os/noop", problem="create is missing")
    error = refused(ADD, snapshot(nodes={NODE1: live(facts((broken,)))}), pnode="node1")
    assert "is not valid: create is missing" in error.message


def test_refuses_an_os_that_differs_between_nodes_and_names_the_files() -> None:
    mine = OsFacts(name="noop", path="/x", digest="1", files={"create": "1", "export": "1"})
    other = OsFacts(name="noop", path="/x", digest="2", files={"create": "2", "export": "1"})
    nodes = {node: live(facts((mine,))) for node in (NODE1, NODE3)} | {NODE2: live(facts((other,)))}
    error = refused(ADD, snapshot(nodes=nodes), pnode="node1")
    assert "differs between nodes node1.example.com and node2.example.com" in error.message
    assert "(files: create)" in error.message


@pytest.mark.parametrize("change", [{"offline": True}, {"vm_capable": False}])
def test_an_os_may_differ_on_nodes_that_do_not_count(change: dict[str, Any]) -> None:
    other = OsFacts(name="noop", path="/x", digest="2")
    cluster = snapshot(nodes={NODE2: live(facts((other,)))}, change={NODE2: change})
    assert check(cluster, {**ADD, "pnode": "node1"})


@pytest.mark.parametrize("entry", ["noop", "noop+min"])
def test_refuses_a_blacklisted_os(entry: str) -> None:
    error = refused(ADD, snapshot(blacklisted_os=(entry,)), os_type="noop+min")
    assert error.message == "OS noop+min is blacklisted"


def test_a_hidden_os_may_be_used() -> None:
    assert check(snapshot(hidden_os=("noop",)), ADD)


def test_refuses_more_minmem_than_maxmem() -> None:
    error = refused(ADD, beparams={"minmem": 512, "maxmem": 256})
    assert error.message == "minmem 512 is more than maxmem 256"


@pytest.mark.parametrize(
    "beparams",
    [{"vcpus": 0}, {"vcpus": "many"}, {"vcpus": "9" * 50}, {"memory": "-1"}, {"memory": 0},
     {"cpus": 1}, {"auto_balance": "maybe"}, {"vcpus": None}],
)  # fmt: skip
def test_refuses_backend_parameters_that_do_not_fit(beparams: dict[str, Any]) -> None:
    refused(ADD, beparams=beparams)


@pytest.mark.parametrize("key", ["a b", "../x", "", "a=b", "x" * 65])
def test_refuses_os_parameters_that_cannot_be_variables(key: str) -> None:
    refused(ADD, osparams={key: "1"})
    refused(ADD, osparams_private={key: "1"})


def test_refuses_a_file_driver_and_a_directory_that_leads_out() -> None:
    refused(FILE, file_driver="blktap")
    for directory in ("../x", "/etc", "a/b", ".."):
        refused(FILE, file_storage_dir=directory)


def test_refuses_other_modes_and_fields_that_it_does_not_know() -> None:
    assert "is not supported" in refused(ADD, mode="remote-import").message
    assert "no instance allocator 'hail'" in refused(ADD, iallocator="hail").message
    assert "remote_import" in refused(ADD, remote_import="hail").message


class TestNics:
    """Of an instance to be made."""

    def test_gets_a_mac_with_the_clusters_prefix(self) -> None:
        plan = check(snapshot(mac_prefix="02:16:3e"), {**ADD, "nics": [{}]}, Given(b"\1\2\3"))
        assert plan.instance.nics[0].mac == "02:16:3e:01:02:03"

    def test_never_gets_a_mac_that_is_taken_or_reserved_or_its_neighbours(self) -> None:
        cluster = snapshot(web(2, nics=(TAKEN,)), reserved=frozenset({"mac/aa:00:00:00:00:02"}))
        given = Given(b"\0\0\1", b"\0\0\2", b"\0\0\3", b"\0\0\3", b"\0\0\4")
        plan = check(cluster, {**ADD, "nics": [{}, {}]}, given)
        assert [nic.mac[-2:] for nic in plan.instance.nics] == ["03", "04"]

    def test_refuses_a_mac_of_another_instance(self) -> None:
        error = refused(ADD, snapshot(web(2, nics=(TAKEN,))), nics=[{"mac": TAKEN.mac.upper()}])
        assert "is that of instance web2.example.com" in error.message

    def test_refuses_the_same_mac_twice(self) -> None:
        nics = [{"mac": "aa:00:00:01:01:01"}] * 2
        assert "is given twice" in refused(ADD, nics=nics).message

    @pytest.mark.parametrize(
        "mac", ["aa:00:00:01:01", "01:00:00:01:01:01", "x", "aa-00-00-01-01-01"]
    )
    def test_refuses_what_is_no_mac(self, mac: str) -> None:
        refused(ADD, nics=[{"mac": mac}])

    def test_refuses_an_address_that_is_taken_on_the_same_link_only(self) -> None:
        cluster = snapshot(web(2, nics=(TAKEN,)))
        assert (
            "is that of instance web2" in refused(ADD, cluster, nics=[{"ip": "10.0.0.5"}]).message
        )
        assert check(cluster, {**ADD, "nics": [{"ip": "10.0.0.5", "link": "br1"}]})
        assert check(cluster, {**ADD, "nics": [{"ip": "10.0.0.5", "mode": "user"}]})

    def test_an_address_may_be_taken_where_that_was_asked_for(self) -> None:
        op = {**ADD, "nics": [{"ip": "10.0.0.5"}], "conflicts_check": False}
        plan = check(snapshot(web(2, nics=(TAKEN,))), op)
        assert not any(name.startswith("ip/") for name in plan.reserve)

    def test_refuses_the_same_address_twice_on_one_link(self) -> None:
        error = refused(ADD, nics=[{"ip": "10.0.0.9"}, {"ip": "10.0.0.9"}])
        assert "is given twice" in error.message

    def test_refuses_a_nodes_address(self) -> None:
        assert "is that of node node1" in refused(ADD, nics=[{"ip": "127.1.0.1"}]).message

    @pytest.mark.parametrize("ip", ["10.0.0", "10.0.0.256", "fe80::1%eth0", "fe80::1%$(x)", "x"])
    def test_refuses_what_is_no_address(self, ip: str) -> None:
        assert "is not an IP address" in refused(ADD, nics=[{"ip": ip}]).message

    @pytest.mark.parametrize("mode", ["routed", "openvswitch", "ext", "BRIDGED"])
    def test_refuses_modes_that_are_not_there_yet(self, mode: str) -> None:
        assert "bridged, user" in refused(ADD, nics=[{"mode": mode}]).hint

    def test_refuses_vlans(self) -> None:
        assert "VLANs" in refused(ADD, nics=[{"vlan": "100"}]).message

    @pytest.mark.parametrize("link", ["../br0", "br 0", "x" * 16, "br0,script=/x", "-br"])
    def test_refuses_links_that_are_no_bridges(self, link: str) -> None:
        refused(ADD, nics=[{"link": link}])

    def test_a_user_network_has_no_link_but_can_be_isolated(self) -> None:
        plan = check(snapshot(), {**ADD, "nics": [{"mode": "user", "link": "isolated"}]})
        assert plan.instance.nics[0].link == "isolated"
        assert "has no link 'br0'" in refused(ADD, nics=[{"mode": "user", "link": "br0"}]).message

    def test_a_name_must_be_plain(self) -> None:
        refused(ADD, nics=[{"name": "../x"}])
        assert check(snapshot(), {**ADD, "nics": [{"name": "lan"}]}).instance.nics[0].name == "lan"


def test_the_lowest_free_port_is_taken() -> None:
    cluster = snapshot(
        web(2, network_port=11000),
        reserved=frozenset({"port/11001"}),
        nodes={node: live(facts(hypervisors={"kvm": HypervisorFacts(available=True)}))
               for node in (NODE1, NODE2, NODE3)},
        enabled_hypervisors=(HypervisorName.KVM,),
    )  # fmt: skip
    plan = check(cluster, ADD)
    assert plan.instance.network_port == 11002
    assert "port/11002" in plan.reserve


async def test_what_is_undone_leaves_nothing_of_the_guest() -> None:
    plan, steps = check(snapshot(), ADD), Written()
    await registry.load(ADD).run(plan, steps)
    [(_, _, order, undo)] = [one for one in steps.done if one[0] == "start-guest"]
    assert isinstance(order, GuestStart)
    assert isinstance(undo, GuestStop)
    assert undo.force
    assert undo.forget
