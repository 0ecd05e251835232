"""OS definitions on this machine, without a cluster: what ``gnt-os`` asks of it.

Scripts are run by the runner that agents use, so that a trial is what would happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from gantry.cli.errors import Usage
from gantry.hooks import example
from gantry.host import leftovers
from gantry.model.bundles import DEFINITIONS
from gantry.model.findings import Finding
from gantry.model.names import Uuid
from gantry.model.orders import OsRun
from gantry.model.os_trial import Attempt, Trial, Wanted
from gantry.operations.steps import specs
from gantry.osdefs import check
from gantry.osdefs.lint import lint
from gantry.osdefs.search import search_directories
from gantry.osdefs.sources import read
from gantry.osdefs.trial import Bed

_VERSION: Final = 1
"""Of the hooks of the example's cluster; it is nothing to an OS definition."""
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_BY_SIGNAL: Final = 128


class LocalOsBench:
    """Implements ``gantry.cli.os.bench.OsBench``."""

    def lint(self, directory: str, name: str) -> tuple[Finding, ...]:
        """What is wrong with a definition; Usage where there is none."""
        root = Path(os.environ.get("GANTRY_ROOT") or "/").absolute()
        try:
            return lint(read(_directory(directory), name, search_directories(root)))
        except OSError as error:
            raise Usage(f"{error.filename} cannot be read: {error.strerror}") from error

    def attempt(
        self, directory: str, name: str, wanted: Wanted, told: Callable[[Attempt], None]
    ) -> Trial:
        """Run its scripts on scratch disks; Usage where it cannot be tried at all."""
        source = _directory(directory)
        if not (source / check.VERSION_FILE).exists():
            raise Usage(f"{directory} is no OS definition: it has no {check.VERSION_FILE}")
        if os.geteuid() != 0:
            sys.stderr.write("as on a node only for root: this user may not mount, say\n")
        with _scratch(keep=wanted.keep) as scratch:
            place = scratch / DEFINITIONS / name
            try:
                shutil.copytree(source, place, ignore_dangling_symlinks=True, copy_function=_copy)
                bed = Bed(scratch, _instance(name), wanted)
                trial = asyncio.run(bed.attempt(told))
            except (OSError, shutil.Error) as error:
                raise Usage(f"{directory} cannot be tried: {error}", "see gnt-os lint") from error
        kept = str(scratch) if scratch.exists() else ""
        return msgspec.structs.replace(trial, kept=kept)


def _instance(name: str) -> OsRun:
    """An instance of the example's cluster, as an operation describes it."""
    web = msgspec.structs.replace(
        example.WEB, os=name, uuid=Uuid(str(uuid.uuid4())), beparams={}, hvparams={}
    )
    return specs.os_run(example.cluster(_VERSION), web)


@contextlib.contextmanager
def _scratch(*, keep: bool) -> Iterator[Path]:
    """A directory for a trial, which works in ``/`` and makes files for its user alone.

    It is not removed where something is still mounted in it: that would be emptied.
    """
    here, mask = Path.cwd(), os.umask(0o077)
    for number in _ENDING:
        signal.signal(number, _end)
    scratch = Path(tempfile.mkdtemp(prefix="gantry-os-")).resolve()
    try:
        os.chdir("/")
        yield scratch
    finally:
        os.umask(mask)
        os.chdir(here)
        stuck = leftovers.remaining(str(scratch))
        for what in stuck:
            sys.stderr.write(f"{what} is still there, so {scratch} is kept: remove both\n")
        if not keep and not stuck:
            shutil.rmtree(scratch, ignore_errors=True)


def _copy(source: str, target: str) -> None:
    """One file of a definition; a device could be read for ever."""
    if not Path(source).is_file():
        raise shutil.SpecialFileError(f"{source} is no file")
    shutil.copy2(source, target)


def _end(number: int, frame: object) -> NoReturn:
    """What has begun is ended and cleared away before the process ends."""
    raise SystemExit(_BY_SIGNAL + number)


def _directory(name: str) -> Path:
    place = Path(name)
    if not place.is_dir():
        raise Usage(f"{name} is no directory", "give an OS definition: a directory with scripts")
    return place.absolute()
