"""What commands send fits the operations that it is meant for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.cli.conftest import Commands

from gantry.cli.programs import PROGRAMS
from gantry.model.jobs import DryRun
from gantry.operations.instance.recreate_disks import Anew, Changed
from gantry.operations.registry import load
from gantry.operations.steps.disk_changes import DiskChange, DiskValues

EXAMPLES = Path(__file__).parents[3] / "examples/hooks"
LINES: dict[str, dict[str, Any]] = {
    "gnt-cluster modify --hooks-version 2 -B memory=512M,vcpus=2 -H kvm:acpi,no_vhost_net": {
        "hooks_version": 2,
        "beparams": {"memory": "512M", "vcpus": "2"},
        "hvparams": {"kvm": {"acpi": True, "vhost_net": False}},
    },
    "gnt-cluster modify -N mode=bridged,link=br1 --enabled-hypervisors kvm,fake -m aa:bb:cc": {},
    "gnt-cluster modify --max-running-jobs 50 -C 3 --maintain-node-health no --no-ip-check": {},
    "gnt-cluster verify --error-codes -I ENODEHOOKS -I ENODEOS": {
        "ignore_errors": ("ENODEHOOKS", "ENODEOS")
    },
    "gnt-cluster verify-disks --no-strict -g default": {"group_name": "default"},
    "gnt-cluster repair -f": {},
    "gnt-cluster destroy --yes-do-it": {},
    "gnt-cluster master-failover --to node2 --no-voting --ignore-offline-nodes": {
        "node_name": "node2",
        "ignore_offline_nodes": True,
    },
    "gnt-cluster add-tags site:berlin": {"kind": "cluster", "tags": ("site:berlin",)},
    "gnt-node add -s 192.0.2.14 node4.example.com": {
        "node_name": "node4.example.com",
        "secondary_ip": "192.0.2.14",
    },
    "gnt-node add --no-ssh-key-check --no-node-setup -v node4.example.com": {"readd": False},
    "gnt-cluster verify --no-nplus1-mem --no-hv-param-assessment --verify-ssh-clutter": {},
    "gnt-instance modify --no-hotplug --ignore-ipolicy -B vcpus=3 web1": {"force": False},
    "gnt-node add --readd -g default --vm-capable=no --node-parameters ssh_port=2 n4.x.de": {},
    "gnt-node end-guest -f --shutdown-timeout=0 node3 stray.example.com": {
        "guest": "stray.example.com",
        "shutdown_timeout": 0,
    },
    "gnt-node remove node3": {"node_name": "node3"},
    "gnt-node modify --drained=yes node3": {"drained": True, "offline": None},
    "gnt-node modify -f -O yes node3": {"offline": True, "powered_off": True},
    "gnt-node modify --node-powered=no node3": {"powered": False, "powered_off": False},
    "gnt-node power cycle -f --oob-timeout 5 --ignore-status node3 node2": {
        "command": "power-cycle",
        "node_names": ("node3", "node2"),
        "timeout": 5,
        "ignore_status": True,
        "force": True,
    },
    "gnt-node power on -f --all --power-delay 0.5": {
        "command": "power-on",
        "node_names": ("node1.example.com", "node2.example.com", "node3.example.com"),
        "power_delay": 0.5,
    },
    "gnt-node power status --all --no-headers": {"command": "power-status", "node_names": ()},
    "gnt-node health node2": {"command": "health", "node_names": ("node2",)},
    "gnt-node modify -C no --auto-promote node3": {"master_candidate": False},
    "gnt-node remove-tags node3 a b": {"kind": "node", "name": "node3", "tags": ("a", "b")},
    "gnt-instance add -t file -s 10G -o busybox -n node1 Web9.Example.COM": {
        "instance_name": "web9.example.com",
        "disk_template": "file",
        "os_type": "busybox",
        "pnode": "node1",
        "start": True,
        "name_check": None,
    },
    "gnt-instance add -t file --disk 0:size=1G,name=root,mode=ro --disk 1:size=512 "
    "-H kvm:kernel_path=/x,serial_console=false -B maxmem=1G,minmem=512M -O a=1,b=2 "
    "--net 0:ip=10.0.0.5,mac=aa:00:00:00:00:09,mode=bridged,link=br0,name=front "
    "--tags a,b --no-start --no-install --no-name-check --no-ip-check -o noop web9.example.com": {
        "start": False,
        "no_install": True,
        "name_check": False,
        "ip_check": False,
        "hypervisor": "kvm",
        "tags": ("a", "b"),
        "osparams": {"a": "1", "b": "2"},
    },
    "gnt-instance add -t diskless --no-nics -o noop web9.example.com": {"disks": (), "nics": ()},
    "gnt-instance startup --paused --no-remember --ignore-offline web1": {"startup_paused": True},
    "gnt-instance start -H kernel_args=single -B memory=1G web1": {
        "hvparams": {"kernel_args": "single"},
        "beparams": {"memory": "1G"},
    },
    "gnt-instance stop --timeout=0 web1": {"timeout": 0.0},
    "gnt-instance shutdown --force --no-remember web1": {"force": True},
    "gnt-instance reboot -t full --shutdown-timeout 5 web1": {"reboot_type": "full"},
    "gnt-instance set -B vcpus=2 web1": {"beparams": {"vcpus": "2"}},
    "gnt-instance modify --net add:link=br1 --net -1:remove --net 0:ip=10.0.0.9 web1": {},
    "gnt-instance modify -H acpi=default -O x=1 --os-parameters-private y=2 web1": {
        "osparams_private": {"y": "2"}
    },
    "gnt-instance modify --hotplug --disk add:size=1G,mode=ro --disk 1:name=x --disk -1:remove "
    "--disk 0:add,size=5 web1": {
        "hotplug": True,
        "disks": (
            DiskChange("add", -1, DiskValues(size="1G", mode="ro")),
            DiskChange("modify", 1, DiskValues(name="x")),
            DiskChange("remove", -1),
            DiskChange("add", 0, DiskValues(size="5")),
        ),
    },
    "gnt-instance modify --online web1": {"offline": False},
    "gnt-instance modify -o debian web1": {"os_name": "debian"},
    "gnt-instance failover -f -n node3 --shutdown-timeout 5 web1": {
        "target_node": "node3",
        "shutdown_timeout": 5,
    },
    "gnt-instance add-mirror -b sda -n node3 web1": {},
    "gnt-instance remove-mirror -f -b sda -p 1 web1": {},
    "gnt-instance sync-disks web1": {},
    "gnt-instance move -f -n node3 web1": {"target_node": "node3"},
    "gnt-instance replace-disks -s web1": {},
    "gnt-instance migrate -f -n node3 web1": {"target_node": "node3"},
    "gnt-instance grow-disk --no-wait-for-sync web1 sdb 10G": {
        "disk": "sdb",
        "amount": "10G",
        "absolute": False,
    },
    "gnt-instance grow-disk --absolute web1 0 512": {"disk": "0", "absolute": True},
    "gnt-instance recreate-disks -n node3 --disk 0 --disk root:size=2G,mode=ro web1": {
        "nodes": ("node3",),
        "disks": (Anew(0), Anew("root", Changed(size="2G", mode="ro"))),
    },
    "gnt-instance activate-disks --ignore-size web1": {"ignore_size": True},
    "gnt-instance deactivate-disks -f web1": {"force": True},
    "gnt-instance remove -f --ignore-failures web1": {"ignore_failures": True},
    "gnt-instance reinstall -d -f -o debian+trixie --force-variant -O dhcp=yes web2": {
        "debug_level": 1,
        "instance_name": "web2",
        "os_type": "debian+trixie",
        "force_variant": True,
        "osparams": {"dhcp": "yes"},
        "store_osparams": False,
    },
    "gnt-instance reinstall --force-multiple --store-os-parameters --os-parameters-private a=b "
    "--tags tier:1": {
        "instance_name": "web2.example.com",
        "os_type": None,
        "osparams_private": {"a": "b"},
        "store_osparams": True,
    },
    "gnt-backup export -n node2 --noshutdown web1": {
        "instance_name": "web1",
        "target_node": "node2",
    },
    "gnt-backup export -n node2 --incremental web1": {
        "instance_name": "web1",
        "incremental": True,
    },
    "gnt-backup import -n node1 --src-node node2 --point 3 web1": {
        "instance_name": "web1",
        "src_point": 3,
    },
    "gnt-backup remove --point 3 web1": {"instance_name": "web1", "point": 3},
    "gnt-backup import -n node1 --src-node node2 -s 20G Copy.Example.COM": {
        "instance_name": "copy.example.com",
        "mode": "import",
        "src_node": "node2",
    },
    "gnt-backup remove web1.example.com": {"instance_name": "web1.example.com"},
    "gnt-backup verify -n node2 web1": {"instance_name": "web1", "node_name": "node2"},
    "gnt-instance add-tags web1 a": {"kind": "instance", "name": "web1"},
    "gnt-group add-tags default a": {"kind": "nodegroup", "name": "default"},
    "gnt-os modify -H kvm:kernel_path=/k,initrd_path=/i -O a=1 busybox": {
        "os_hvp": {"busybox": {"kvm": {"kernel_path": "/k", "initrd_path": "/i"}}},
        "osparams": {"busybox": {"a": "1"}},
    },
    "gnt-os modify --hidden=yes --blacklisted=no busybox": {},
    f"gnt-hook push --replace -n node1 -n node2 {EXAMPLES}": {
        "bundle": 1,
        "replace": True,
        "node_names": ("node1", "node2"),
    },
    "gnt-hook disable 20-a instance-add-pre.d/30-b -n node2 --reason broken": {
        "scripts": ("20-a", "instance-add-pre.d/30-b"),
        "enabled": False,
        "node_names": ("node2",),
        "because": "broken",
    },
    "gnt-hook enable 20-a": {"scripts": ("20-a",), "enabled": True, "node_names": ()},
    "gnt-hook rollback --to 3": {"bundle": 3, "going_back": True, "node_names": ()},
    "gnt-hook rollback": {"bundle": None},
    f"gnt-os push --no-lint --name web --force -n node1 {EXAMPLES}": {
        "os_name": "web",
        "bundle": 1,
        "going_back": False,
        "replace": True,
        "node_names": ("node1",),
    },
    "gnt-os rollback web --to 3": {"os_name": "web", "bundle": 3, "replace": False},
    "gnt-os rollback web+trixie -n node2": {
        "os_name": "web",
        "bundle": None,
        "node_names": ("node2",),
    },
    f"gnt-hook webhook-add chat https://x.de/y --secret-file {__file__} --event job:error": {
        "name": "chat",
        "events": ("job:error",),
    },
    "gnt-hook webhook-remove chat": {"name": "chat"},
    "gnt-debug delay -n node1 --no-master -r 2 -l 0.5": {"duration": 0.5, "repeat": 2},
}
READING = {
    "diff", "history", "lint", "new", "record", "replay", "show", "status", "test",
    "webhook-list", "webhook-test",
    "init", "info", "getmaster", "version", "list", "list-fields", "list-tags", "console",
    "diagnose", "wait", "watch", "cancel", "archive", "autoarchive", "change-priority", "locks",
    "search-tags", "master-ping",
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
async def test_an_operation_takes_what_its_command_sends(gnt: Commands, line: str) -> None:
    loaded = load(await gnt.operation(line))
    shown = msgspec.structs.asdict(loaded)
    assert {name: shown[name] for name in LINES[line]} == LINES[line]


@pytest.mark.parametrize(
    ("command", "opcode"),
    [
        ("gnt-cluster verify --no-nplus1-mem", "OP_CLUSTER_VERIFY"),
        ("gnt-cluster master-failover --to node2", "OP_MASTER_FAILOVER"),
        ("gnt-node add -s", "OP_NODE_ADD"),
        ("gnt-node remove", "OP_NODE_REMOVE"),
        ("gnt-instance add -t diskless --no-nics", "OP_INSTANCE_CREATE"),
        ("gnt-backup export", "OP_BACKUP_EXPORT"),
        ("gnt-instance start -H", "OP_INSTANCE_STARTUP"),
        ("gnt-instance shutdown", "OP_INSTANCE_SHUTDOWN"),
        ("gnt-instance modify -o", "OP_INSTANCE_SET_PARAMS"),
        ("gnt-instance failover", "OP_INSTANCE_FAILOVER"),
        ("gnt-instance remove -f", "OP_INSTANCE_REMOVE"),
        ("gnt-instance add-mirror", "OP_INSTANCE_ADD_MDDRBD"),
        ("gnt-instance remove-mirror", "OP_INSTANCE_REMOVE_MDDRBD"),
        ("gnt-instance replace-disks -s", "OP_INSTANCE_REPLACE_DISKS"),
    ],
)
async def test_commands_of_the_founding_document_submit_its_operations(
    gnt: Commands, command: str, opcode: str
) -> None:
    """All but ``gnt-cluster init``, which has no master to submit to."""
    line, *_ = [one for one in LINES if one.startswith(f"{command} ")]
    assert load(await gnt.operation(line)).opcode == opcode
    assert "init" in PROGRAMS["gnt-cluster"]


def test_every_command_that_submits_is_here() -> None:
    tried = {tuple(line.split()[:2]) for line in LINES}
    tried |= {
        ("gnt-instance", "rename"),
        ("gnt-cluster", "epo"),
        ("gnt-node", "migrate"),
        ("gnt-node", "evacuate"),
        ("gnt-node", "failover"),
        ("gnt-instance", "modify"),
        ("gnt-instance", "startup"),
        ("gnt-instance", "shutdown"),
    }
    tags = {(program, f"{verb}-tags") for program in PROGRAMS for verb in ("add", "remove")}
    submitting = {
        (program, command)
        for program, commands in PROGRAMS.items()
        for command in commands
        if command not in READING
    }
    assert submitting - tags <= tried


async def test_secrets_of_a_reinstallation_travel_beside_it_for_each_instance(
    gnt: Commands,
) -> None:
    gnt.queue.at_once = True
    line = "gnt-instance reinstall --force-multiple --os-parameters-secret @- web1 web2"
    assert (await gnt(line, stdin="root_password=a,b\n")).status == 0
    assert [one.secrets for one in gnt.queue.submissions] == [({"root_password": "a,b"},)] * 2
    assert "a,b" not in str([one.ops for one in gnt.queue.submissions])


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("gnt-instance reinstall web1", "-f"),
        ("gnt-instance reinstall -f web1 web2", "--force-multiple"),
        ("gnt-instance reinstall -f --all", "--force-multiple"),
    ],
)
async def test_nothing_is_reinstalled_without_a_yes(gnt: Commands, line: str, option: str) -> None:
    done = await gnt(line)
    assert (done.status, option in done.err) == (13, True), done
    assert "all data on the disks is lost" in done.err
    assert not gnt.queue.submissions


async def test_an_os_is_chosen_on_a_terminal_alone(gnt: Commands) -> None:
    done = await gnt("gnt-instance reinstall -f --select-os web1")
    assert done.status == 2
    assert "give the OS with -o" in done.err or "no OS definition" in done.err
    done = await gnt("gnt-instance reinstall -f --select-os -o noop web1")
    assert (done.status, "not both" in done.err) == (2, True)


async def test_a_rename_says_what_it_did(gnt: Commands) -> None:
    done = await gnt("gnt-instance rename web2 WWW.Example.com --submit --no-name-check")
    assert done.status == 0
    (operation,) = gnt.queue.submissions[-1].ops
    loaded = msgspec.structs.asdict(load(operation))
    assert loaded["new_name"] == "www.example.com"
    assert (loaded["name_check"], loaded["ip_check"]) == (False, None)


async def test_secrets_travel_beside_the_operation(gnt: Commands) -> None:
    gnt.queue.at_once = True
    line = "gnt-instance add -t diskless -o noop --os-parameters-secret @- web9.example.com"
    done = await gnt(line, stdin="root_password=a,b\n")
    assert done.status == 0
    (submission,) = gnt.queue.submissions
    assert submission.secrets == ({"root_password": "a,b"},)
    assert "a,b" not in str(submission.ops)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("gnt-instance add -t file -s -1 -o noop web9.example.com", "-1"),
        ("gnt-instance add -t file -s 0 -o noop web9.example.com", "at least 1 MiB"),
        ("gnt-instance add -t file -s 10X -o noop web9.example.com", "10X"),
        ("gnt-instance add -t file -s 1e3 -o noop web9.example.com", "1e3"),
        ("gnt-instance add -t file --disk 0:size=1e3 -o noop web9.example.com", "1e3"),
        ("gnt-instance add -t diskless -o noop ../x", "../x"),
        ("gnt-instance add -t diskless -o noop web_9", "web_9"),
        ("gnt-node add ../x", "../x"),
        ("gnt-instance rename web1 ../x", "../x"),
        ("gnt-instance rename web1", "NEW_NAME"),
        ("gnt-instance add -t diskless -o noop", "NAME"),
        ("gnt-instance start --nonsense web1", "--nonsense"),
        ("gnt-instance stop --timeout=-5 web1", "-5"),
        ("gnt-instance reboot -t warm web1", "warm"),
        ("gnt-instance modify --disk size=5 web1", "say which one"),
        ("gnt-instance modify --disk 0:add,remove web1", "one of add"),
        ("gnt-instance modify --disk 0:remove,size=1 web1", "takes no values"),
        ("gnt-instance start", "which instances"),
        ("gnt-instance start --all web1", "--all"),
        ("gnt-instance start --all --node node1", "only one"),
        ("gnt-instance modify --net 0:remove,add web1", "--net"),
        ("gnt-node modify --offline=perhaps node3", "perhaps"),
        ("gnt-cluster destroy", "--yes-do-it"),
        ("gnt-cluster add-tags", "tags"),
        ("gnt-job watch seven", "seven"),
        ("gnt-job autoarchive soon", "soon"),
        ("gnt-instance frobnicate", "frobnicate"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(
    gnt: Commands, line: str, word: str
) -> None:
    done = await gnt(line)
    assert done.status == 2
    assert word in done.err
    assert "Traceback" not in done.err
    assert not gnt.queue.submissions


@pytest.mark.parametrize(
    ("line", "status", "word"),
    [
        ("gnt-instance list -o name,nonsense", 14, "nonsense"),
        ("gnt-instance list nonsense", 1, "nonsense"),
        ("gnt-instance info nonsense", 1, "nonsense"),
        ("gnt-instance info ../../jobs", 1, "../../jobs"),
        ("gnt-instance info web", 1, "ambiguous"),
        ("gnt-job info 77", 1, "77"),
        ("gnt-instance list-tags nonsense", 1, "nonsense"),
    ],
)
async def test_what_only_the_master_can_refuse(
    gnt: Commands, line: str, status: int, word: str
) -> None:
    done = await gnt(line)
    assert (done.status, word in done.err) == (status, True), done


async def test_a_wrong_filter_is_shown_where_it_is_wrong(gnt: Commands) -> None:
    done = await gnt("gnt-instance list -F", 'status = = "x"')
    assert done.status == 1
    assert "filter" in done.err


async def test_what_is_wrong_with_disks_is_an_exit_status(gnt: Commands) -> None:
    gnt.queue.at_once = True
    for result, status in ((True, 0), (False, 1)):
        gnt.queue.result = result
        assert (await gnt("gnt-cluster verify-disks")).status == status


async def test_repairs_are_shown_asked_for_and_made_one_job_each(gnt: Commands) -> None:
    gnt.queue.at_once = True
    gnt.queue.result = [
        {"what": f"node{number} is odd", "operation": {"OP_ID": "OP_TEST_DUMMY"}}
        for number in (1, 2)
    ]
    done = await gnt("gnt-cluster repair --show")
    assert (done.status, done.out) == (0, "node1 is odd\nnode2 is odd\n")
    done = await gnt("gnt-cluster repair")
    assert (done.status, "Mend these?" in done.err) == (13, True)
    assert len(gnt.queue.submissions) == 2
    assert (await gnt("gnt-cluster repair -f")).status == 0
    kinds = [one.ops[0]["OP_ID"] for one in gnt.queue.submissions]
    assert kinds == ["OP_CLUSTER_FIND_REPAIRS"] * 3 + ["OP_TEST_DUMMY"] * 2
    shown = (await gnt("gnt-cluster repair --show --json")).json
    assert [one["what"] for one in shown] == ["node1 is odd", "node2 is odd"]
    made = (await gnt("gnt-cluster repair -f --json")).json
    assert [(one["what"], one["status"]) for one in made] == [
        ("node1 is odd", "success"),
        ("node2 is odd", "success"),
    ]
    gnt.queue.result = []
    assert "nothing that can be mended" in (await gnt("gnt-cluster repair")).out


async def test_a_trial_of_emptying_a_node_follows_what_it_would_submit(gnt: Commands) -> None:
    gnt.queue.at_once = True
    gnt.queue.result = {"dry_run": True, "jobs": [[True, 1], [False, "web2 cannot go"]]}
    done = await gnt("gnt-node evacuate --dry-run node2")
    assert (done.status, "Waiting for job 1" in done.out) == (1, True), done
    assert "1 of 2 instances could be brought elsewhere" in done.out
    gnt.queue.result = {"dry_run": True, "effects": [], "complete": True}
    done = await gnt("gnt-node migrate --dry-run node2")
    assert (done.status, "nothing was changed" in done.out) == (0, True), done
    assert {one.dry_run for one in gnt.queue.submissions} == {DryRun.YES}
