"""``gnt-cluster init``: its options. The work is done where the store is built, in ``main``."""

from __future__ import annotations

import argparse

from gantry.cli import ganeti_options
from gantry.cli.cluster import modify

EXAMPLES = """
gnt-cluster init cluster.example.com
gnt-cluster init --node-name node1.example.com --primary-ip 192.0.2.11 cluster.example.com
gnt-cluster init --hooks-version 2 --enabled-hypervisors kvm -N mode=bridged,link=br0 \\
    cluster.example.com
gnt-cluster init --store etcd=https://etcd1.example.com:2379,https://etcd2.example.com:2379 \\
    --store-ca ca.pem --store-cert client.pem --store-key client.key \\
    --store-user gantry --store-password-file password cluster.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The cluster's name and parameters, and who this machine is."""
    ganeti_options.without_effect(parser, "--no-etc-hosts", "--no-ssh-init")
    parser.add_argument("name", metavar="CLUSTER", help="the cluster's own host name")
    parser.add_argument("--node-name", metavar="NAME", help="this machine's (its own host name)")
    parser.add_argument("--primary-ip", metavar="ADDRESS", help="where its agent listens")
    parser.add_argument("-s", "--secondary-ip", metavar="ADDRESS", help="for disks' traffic")
    parser.add_argument("--port", type=int, default=1811, help="the agent's (1811)")
    parser.add_argument("--api-port", type=int, default=5080, help="the API's (5080)")
    _store(parser)
    modify.parameters(parser)


def _store(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where the cluster's state is kept")
    group.add_argument(
        "--store", metavar="etcd=URL,…", help="in an etcd of 3.4 or later (a file of this machine)"
    )
    group.add_argument("--store-prefix", metavar="KEY/", help="of all keys (/gantry/CLUSTER/)")
    group.add_argument("--store-ca", metavar="FILE", help="the CA of etcd's certificates, PEM")
    group.add_argument("--store-cert", metavar="FILE", help="our client certificate, PEM")
    group.add_argument("--store-key", metavar="FILE", help="its key")
    group.add_argument("--store-user", metavar="NAME", help="a user of etcd")
    group.add_argument("--store-password-file", metavar="FILE", help="one line: its password")
