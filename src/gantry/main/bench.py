"""Hook scripts on this machine, without a cluster: what ``gnt-hook`` asks of it.

Scripts are run by the runner that agents use, so that a trial is what would happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gantry.agent import configuration
from gantry.agent.hooks import DIRECTORY, run_below
from gantry.agent.ledger import Ledger
from gantry.cli.errors import Usage
from gantry.cli.hook.bench import Tried
from gantry.hooks import example
from gantry.hooks.record import ending
from gantry.hooks.trial import runnable_name
from gantry.host import inventory
from gantry.jobs.distributor import ssconf
from gantry.model.errors import GantryError
from gantry.model.hook_files import HookInventory
from gantry.model.hook_orders import HooksRan, HooksRun, ScriptStatus
from gantry.model.hook_runs import Origin

_ENVIRONMENT: Final = "/usr/bin/env"
_VARIABLE: Final = re.compile(r"([A-Za-z_][^=\s]*)=(.*)")
_DATA: Final = "var/lib/ganeti"


class LocalBench:
    """Implements ``gantry.cli.hook.bench.Bench``."""

    def inventory(self, directory: str, version: int) -> HookInventory:
        """What is in a directory of hooks; Usage where there is none."""
        base = Path(directory)
        if not base.is_dir():
            raise Usage(
                f"{directory} is no directory",
                "give one that has directories such as instance-add-pre.d in it",
            )
        return inventory.read(base.absolute(), version)

    def run(self, script: str, order: HooksRun, *, keep: bool) -> Tried:
        """Run one script as the order says; Usage where it cannot be run at all."""
        path = Path(script).absolute()
        if not path.is_file():
            raise Usage(f"{script} is no file", "give the path of a script")
        try:
            ledger = self._ledger() if keep else None
        except GantryError as error:
            raise Usage(f"the run cannot be kept: {error.message}", "leave --keep out") from error
        with _node(path, order) as root:
            name = runnable_name(path.name)
            ledger = ledger or Ledger(root, "this machine", origin=Origin.TEST)
            try:
                ran = _run(root, order, ledger)
                [result] = [one for one in ran.results if one.script == name]
                if result.status is ScriptStatus.SKIPPED:
                    raise Usage(f"{script} would not run: {result.problem}", "see gnt-hook lint")
                if not result.run:
                    raise Usage(
                        f"{script} was run ({ending(result)}), but what it did cannot be kept",
                        "who may write the node's records is root" if keep else "is /tmp full?",
                    )
                record = ledger.record(result.run)
            except GantryError as error:
                raise Usage(error.message, error.hint) from error
            finally:
                ledger.close()
            return Tried(
                name=f"{result.directory}/{name}",
                result=result,
                stdout=record.stdout or "",
                stderr=record.stderr or "",
                environment=_environment(root, order, path),
                node=record.run.node if keep else "",
            )

    @staticmethod
    def _ledger() -> Ledger:
        root = Path(os.environ.get("GANTRY_ROOT") or "/").absolute()
        node = configuration.read(root)
        return Ledger(root, node.name, node.hook_records, Origin.TEST)


@contextlib.contextmanager
def _node(path: Path, order: HooksRun) -> Iterator[Path]:
    """The root of a node that has this one script, and what stands beside its directory.

    Scripts are run in ``/`` and make files for their user alone, as an agent's are.
    """
    here, mask = Path.cwd(), os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory(prefix="gantry-hook-") as made:
            root = Path(made)
            [directory] = order.directories
            _lay(root / DIRECTORY, path, directory.name)
            (root / _DATA).mkdir(parents=True)
            for name, text in ssconf(example.cluster(order.main_version)).items():
                (root / _DATA / name).write_text(text)
            os.chdir("/")
            yield root
    finally:
        os.umask(mask)
        os.chdir(here)


def _lay(base: Path, path: Path, directory: str) -> None:
    """Links: a script finds ``../lib`` and its policy where they are when it is in its place."""
    (base / directory).mkdir(parents=True)
    (base / directory / runnable_name(path.name)).symlink_to(path)
    if path.parent.name == directory:
        for beside in path.parent.parent.iterdir():
            if beside.name != directory:
                (base / beside.name).symlink_to(beside)


def _run(root: Path, order: HooksRun, ledger: Ledger) -> HooksRan:
    return asyncio.run(run_below(root, order, ledger))


def _environment(root: Path, order: HooksRun, path: Path) -> dict[str, str]:
    """What ``env`` prints when it is run in the script's place."""
    [directory] = order.directories
    place = root / DIRECTORY / directory.name / runnable_name(path.name)
    place.unlink()
    place.symlink_to(_ENVIRONMENT)
    with contextlib.closing(Ledger(root, "this machine", origin=Origin.TEST)) as ledger:
        [result] = _run(root, order, ledger).results
    found: dict[str, str] = {}
    name = ""
    for line in result.output.splitlines():
        match = _VARIABLE.fullmatch(line)
        if match:
            name, found[match[1]] = match[1], match[2]
        elif name:
            found[name] += "\n" + line
    return dict(sorted(found.items()))
