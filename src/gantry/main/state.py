"""``gantry state``: copies of the cluster's state, and the way back."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gantry.main import backups, claim
from gantry.main import store as stores
from gantry.model.errors import Reason, Rejected
from gantry.store import backup

_EXAMPLES = """examples:
  gantry state backup                     a copy now, the master may run
  gantry state list
  systemctl stop gantry-master ; gantry state restore ; systemctl start gantry-master
  gantry state restore /path/to/state-20261121T010203Z.sqlite

The master makes a copy a day by itself and keeps those of the last 7 days. Copies of a state in
a file and of one in etcd are the same: one can be brought back into the other. With etcd, stop the
masters of all candidates before a restore."""


def main(arguments: Sequence[str]) -> int:
    """The sub-commands; all work on this node's store, without the master."""
    parser = argparse.ArgumentParser(
        prog="gantry state",
        description="Copy the cluster's state, or bring a copy back.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("backup", "make a copy now"),
        ("list", "show the copies"),
        ("restore", "bring a copy back; the master must be stopped"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--root", metavar="DIR", help="the node's root (default: /)")
        command.add_argument("--directory", metavar="DIR", help="where the copies are")
        command.add_argument("--json", action="store_true", help="machine-readable output")
        if name == "restore":
            command.add_argument("file", nargs="?", metavar="FILE", help="default: the newest copy")
    given = parser.parse_args(arguments)
    root = Path(given.root or os.environ.get("GANTRY_ROOT") or "/").absolute()
    directory = Path(given.directory) if given.directory else root / backups.DIRECTORY
    os.umask(0o077)
    now = datetime.datetime.now(datetime.UTC)
    if given.command == "backup":
        made = asyncio.run(backups.back_up(root, directory, now))
        return _told(given.json, {"copy": str(made.file)})
    if given.command == "list":
        return _list(directory, given.json)
    return _restore(root, directory, given.file, now, given.json)


def _list(directory: Path, as_json: bool) -> int:
    copies = [
        {
            "file": str(one.file),
            "taken": one.record.taken.isoformat(timespec="seconds"),
            "size_bytes": one.record.size_bytes,
            "revision": one.record.revision,
        }
        for one in backup.list_backups(directory)
    ]
    if as_json:
        sys.stdout.write(json.dumps(copies) + "\n")
    elif not copies:
        sys.stderr.write(f"there are no copies in {directory}\n")
    for one in copies if not as_json else ():
        sys.stdout.write(f"{one['taken']}  {one['size_bytes']:>12}  {one['file']}\n")
    return 0


def _restore(
    root: Path, directory: Path, named: str | None, now: datetime.datetime, as_json: bool
) -> int:
    if named is None:
        copies = backup.list_backups(directory)
        if not copies:
            raise Rejected(
                f"there are no copies in {directory}",
                "name the copy's file, or its directory with --directory",
                reason=Reason.UNKNOWN,
            )
        named = str(copies[0].file)
    if stores.kind(root) is stores.StoreKind.ETCD or not (root / claim.AGENT).exists():
        aside = asyncio.run(backups.restore(root, Path(named), now))
        return _told(as_json, {"restored": named, "old": str(aside) if aside else None})
    claim.check(root, Path(named))
    aside = asyncio.run(backups.restore(root, Path(named), now))
    old = {"old": str(aside) if aside else None}
    was = asyncio.run(claim.claim(root, now.timestamp()))
    return _told(as_json, {"restored": named, **old, **({"old_master": was} if was else {})})


def _told(as_json: bool, said: dict[str, str | None]) -> int:
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
    else:
        sys.stdout.write("".join(f"{name}: {value or '-'}\n" for name, value in said.items()))
    return 0
