"""``gantry join < FILE``: make this machine one that can become a node of a cluster.

The key is made here and never leaves the machine. Nothing is written before the master has
accepted. The machine becomes a node by ``gnt-node add`` on the cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gantry.agent.joining import join
from gantry.model.errors import Rejected


def main(arguments: Sequence[str]) -> int:
    """The sub-command."""
    parser = argparse.ArgumentParser(
        prog="gantry join",
        description="Join a cluster with the token on standard input.",
        epilog="example: gantry join < FILE      (FILE comes from: gantry token NAME > FILE)",
    )
    parser.add_argument("--root", metavar="DIR", help="the node's root (default: /)")
    parser.add_argument(
        "--primary-ip", "--address", dest="address", help="this machine's address in the cluster"
    )
    parser.add_argument("--port", type=int, default=1811, help="its agent's port (default: 1811)")
    given = parser.parse_args(arguments)
    root = Path(given.root or os.environ.get("GANTRY_ROOT") or "/").absolute()
    if sys.stdin.isatty():
        raise Rejected("the token is read from standard input", "gantry join < FILE")
    joined = join(root, sys.stdin.read(65536), address=given.address, port=given.port)
    sys.stdout.write(
        f"joined {joined.cluster_name} as {joined.name} ({joined.host})\n"
        "next, here: systemctl enable --now gantry-agent\n"
        f"then, on the cluster: gnt-node add {joined.name}\n"
    )
    return 0
