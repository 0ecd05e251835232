"""``gnt-cluster modify``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import jobs, values
from gantry.cli import options as shared

EXAMPLES = """
gnt-cluster modify --hooks-version 2                (a site that comes from Ganeti)
gnt-cluster modify -B memory=512M,vcpus=1
gnt-cluster modify -H kvm:serial_speed=115200
gnt-cluster modify -N mode=bridged,link=br0
gnt-cluster modify --max-running-jobs 50
gnt-cluster modify --install-image=/srv/images/install.img
"""


def parameters(parser: argparse.ArgumentParser) -> None:
    """What init and modify share."""
    parser.add_argument(
        "--hooks-version", type=int, choices=(1, 2), help="of the hook interface (1)"
    )
    parser.add_argument("--enabled-hypervisors", metavar="NAME,…", help="kvm, fake")
    parser.add_argument("--enabled-disk-templates", metavar="NAME,…", help="of new instances")
    parser.add_argument(
        "-B", "--backend-parameters", metavar="NAME=VALUE,…", help="usual memory, vcpus, …"
    )
    parser.add_argument(
        "-H",
        "--hypervisor-parameters",
        action="append",
        default=[],
        metavar="HYPERVISOR:NAME=VALUE,…",
        help="once for each hypervisor",
    )
    parser.add_argument("--node-parameters", metavar="NAME=VALUE,…")
    parser.add_argument(
        "-N", "--nic-parameters", metavar="mode=bridged|user,link=…", help="usual network"
    )
    parser.add_argument("-C", "--candidate-pool-size", type=shared.whole_number, metavar="N")
    parser.add_argument("-m", "--mac-prefix", metavar="aa:00:00")
    parser.add_argument("--file-storage-dir", metavar="PATH")
    parser.add_argument("--shared-file-storage-dir", metavar="PATH")
    parser.add_argument(
        "--install-image",
        metavar="FILE|URL",
        help="what scripts that are not trusted run in: on every node, or none",
    )
    parser.add_argument("--maintain-node-health", type=shared.yes_no, metavar="yes|no")
    for name, text in (("name", "new instances' names resolve"), ("ip", "nothing answers there")):
        parser.add_argument(
            f"--{name}-check", action=argparse.BooleanOptionalAction, default=None, help=text
        )


def options(parser: argparse.ArgumentParser) -> None:
    """What can be changed."""
    parameters(parser)
    parser.add_argument(
        "--max-running-jobs", type=shared.whole_number, metavar="N", help="at the same time"
    )
    parser.add_argument(
        "--master-lease",
        type=shared.whole_number,
        metavar="SECONDS",
        help="without a word of the master, until another one takes over (etcd); "
        "from the next master on",
    )
    shared.force(parser)
    shared.job(parser)


def fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """The operation's fields of the shared parameters."""
    found: dict[str, Any] = shared.given(
        arguments,
        "hooks_version",
        "candidate_pool_size",
        "mac_prefix",
        "file_storage_dir",
        "shared_file_storage_dir",
        "install_image",
        "maintain_node_health",
        "name_check",
        "ip_check",
    )
    for name in ("enabled_hypervisors", "enabled_disk_templates"):
        if getattr(arguments, name):
            found[name] = shared.listed(getattr(arguments, name))
    found["beparams"] = values.key_values(arguments.backend_parameters or "", "-B")
    found["nicparams"] = values.key_values(arguments.nic_parameters or "", "-N")
    found["ndparams"] = values.key_values(arguments.node_parameters or "", "--node-parameters")
    found["hvparams"] = values.by_head(arguments.hypervisor_parameters, "-H")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_CLUSTER_SET_PARAMS",
        "force": arguments.force,
        **shared.given(arguments, "max_running_jobs", "master_lease"),
        **fields(arguments),
    }
    return jobs.run(arguments, [operation])
