"""Which scripts of this node's hook directories run, in which order, and by which policy.

The rules are those of the hook interface, section 2.3, and those of the site's ``hooks.toml``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from gantry.hooks.disabled import why
from gantry.hooks.policy import FILE, OnUnreachable, PolicyError, decide
from gantry.host import hook_policy, hook_switches
from gantry.host.digests import Signature, signature
from gantry.model import timeouts
from gantry.model.hook_orders import HookAbout, HookDirectory

File: TypeAlias = tuple[int, int]
"""A file by device and inode."""

DIRECTORY: Final = "etc/ganeti/hooks"
"""Where the directories of scripts are, below a node's root."""
HERE: Final = "."
"""The directory of what is beside the directories of scripts."""
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")


class Wanted(Protocol):
    """What a phase reads on a node: an order to run it, or a question about it."""

    @property
    def directories(self) -> tuple[HookDirectory, ...]:
        """Each with the version that its scripts run in."""

    @property
    def main_version(self) -> int:
        """The cluster's."""

    @property
    def about(self) -> HookAbout:
        """What conditions look at."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a directory; ``skip`` says why it does not run.

    ``problem``: it is no script, but a directory or a policy that cannot be read; that counts
    as a script that failed, for nobody can say what is not there.
    """

    directory: str
    name: str
    path: str
    version: int
    skip: str = ""
    problem: str = ""
    timeout: float = timeouts.HOOK_SCRIPT
    run_as: str = ""
    deny_unreachable: bool = False
    file: Signature | None = None
    """What it was when it was listed."""


def planned(base: Path, wanted: Wanted) -> list[Script]:
    """The scripts that a run meets, in its order, each as the policy decides.

    Where the policy cannot be followed none of them runs: nobody knows as whom.
    """
    found = _with_switches(base, listing(base, wanted))
    if not runnable(found):
        return found
    try:
        policy = hook_policy.read(base)
    except PolicyError as error:
        problem = Script(
            directory=HERE,
            name=FILE,
            path=f"{base}/{FILE}",
            version=wanted.main_version,
            problem=str(error),
        )
        return [problem, *(_left_out(one, f"{FILE} cannot be followed") for one in found)]
    if not policy.entries:
        return found
    decided = []
    for one in found:
        if one.skip or one.problem:
            decided.append(one)
            continue
        found_for = decide(policy, one.directory, one.name, one.version, wanted.about)
        decided.append(
            msgspec.structs.replace(
                one,
                version=found_for.version,
                timeout=found_for.timeout,
                run_as=found_for.run_as,
                skip=found_for.skip,
                deny_unreachable=found_for.on_unreachable is OnUnreachable.DENY,
            )
        )
    return decided


def runnable(scripts: Sequence[Script]) -> bool:
    """Whether there is anything to do or to complain of."""
    return any(not script.skip for script in scripts)


def entries(base: Path, wanted: Wanted) -> Iterator[Script]:
    """The same in no order, with what may run for one directory only in both; one by one."""
    for directory in wanted.directories:
        for script, _ in _directory(base, directory.name, directory.version):
            yield script


def listing(base: Path, wanted: Wanted) -> list[Script]:
    """All entries of the directories, before the policy is asked, those that are skipped included.

    Ordered by name, then by directory, as Python orders strings. A file that is reached from
    two directories runs for one of them only, that of the cluster's version; several names for
    it in one directory all run, for a program may go by the name that it is called by.
    """
    directories = sorted(wanted.directories, key=lambda one: one.version != wanted.main_version)
    owners: dict[File, str] = {}
    kept = []
    for directory in directories:
        for script, file in _directory(base, directory.name, directory.version):
            if file is None or owners.setdefault(file[:2], directory.name) == directory.name:
                kept.append(script)
    return sorted(kept, key=lambda one: (one.name, one.directory))


def look(name: str, path: str) -> tuple[str, Signature | None]:
    """Why it does not run, or "" and which file it is."""
    if not _NAME.fullmatch(name):
        return "its name is not made of letters, digits, _ and -", None
    try:
        status = os.stat(path)  # noqa: PTH116 - one call a script, on the fast path
    except OSError as error:
        return f"it cannot be reached: {error.strerror}", None
    if not stat.S_ISREG(status.st_mode):
        return "it is not a file", None
    if not os.access(path, os.X_OK):
        return "it is not executable", None
    return "", signature(status)


def _directory(base: Path, name: str, version: int) -> Iterator[tuple[Script, Signature | None]]:
    """Every visible entry; with it the file that it is, where it is one that runs."""
    path = base / name
    try:
        entries = os.listdir(path)  # noqa: PTH208 - names only; Path.iterdir makes objects
    except NotADirectoryError:
        return
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        if missing and not _leads_nowhere(base, path):
            return
        why = "a symbolic link leads nowhere" if missing else error.strerror
        problem = f"the directory cannot be read: {why}"
        yield (
            Script(directory=name, name="", path=str(path), version=version, problem=problem),
            None,
        )
        return
    for entry in entries:
        if entry.startswith("."):
            continue
        full = f"{path}/{entry}"
        skip, file = look(entry, full)
        if skip and entry == "lost+found" and path.is_mount():
            continue
        script = Script(
            directory=name,
            name=entry.encode("utf-8", "backslashreplace").decode() if skip else entry,
            path=full,
            version=version,
            skip=skip,
            file=file,
        )
        yield script, file


def _leads_nowhere(base: Path, path: Path) -> bool:
    """Whether a directory is not missing, but elsewhere, in a place that is not there now."""
    return path.is_symlink() or (base.is_symlink() and not base.exists())


def _with_switches(base: Path, scripts: list[Script]) -> list[Script]:
    """Those that an operator has switched off are skipped."""
    switches = hook_switches.read(base) if runnable(scripts) else {}
    if not switches:
        return scripts

    def reason(script: Script) -> str:
        word = switches.get(f"{script.directory}/{script.name}")
        return why(word) if word is not None else ""

    return [_left_out(one, text) if (text := reason(one)) else one for one in scripts]


def _left_out(script: Script, why: str) -> Script:
    if script.skip or script.problem:
        return script
    return msgspec.structs.replace(script, skip=why)
