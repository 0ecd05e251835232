"""``gantry renew-certificates``: a new term for certificates that end soon, or have ended."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gantry.pki.authority import Authority
from gantry.pki.renewal import renew


def main(arguments: Sequence[str]) -> int:
    """Renew those below the master's root, and below every other root that is named."""
    parser = argparse.ArgumentParser(
        prog="gantry renew-certificates",
        description="Renew the certificates of this machine; the keys stay. Run it on the master "
        "or on a master candidate: these have the CA. Start agent and master again afterwards. "
        "Candidates get the master's new ones from the running master. The certificate of a node "
        "that is no candidate is renewed where its files can be reached (NODE_ROOT); otherwise "
        "that machine joins again with a new token.",
        epilog="example: gantry renew-certificates && systemctl restart gantry-agent gantry-master",
    )
    parser.add_argument("--root", metavar="DIR", help="the master's root (default: /)")
    parser.add_argument("roots", nargs="*", metavar="NODE_ROOT", help="roots of other nodes")
    given = parser.parse_args(arguments)
    os.umask(0o077)
    root = Path(given.root or os.environ.get("GANTRY_ROOT") or "/").absolute()
    authority = Authority.load(root)
    for place in (root, *(Path(one).absolute() for one in given.roots)):
        for name in renew(authority, place, time.time()):
            sys.stdout.write(f"renewed {place}: {name}\n")
    return 0
