"""A node's files before anything runs there: directories, programs, OS definitions.

Nothing is overwritten that an operator may have changed. What daemons write is not made here.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import gantry
from gantry.cli.programs import PROGRAMS
from gantry.local.description import Crew, LocalNode
from gantry.local.layout import Layout
from gantry.local.shipped import shipped
from gantry.model.errors import OperationFailed, Reason

_DIRECTORIES: Final = (
    "bin",
    "etc/gantry",
    "etc/ganeti/hooks",
    "srv/ganeti/os",
    "srv/ganeti/file-storage",
    "var/lib/gantry",
    "var/lib/ganeti/export",
    "var/log/gantry",
    "var/log/ganeti/os",
    "run/gantry",
)
_SHARED: Final = "srv/ganeti/shared-file-storage"


def make(layout: Layout, node: LocalNode) -> None:
    """All files of a node that are not there yet."""
    root = layout.root(node)
    try:
        for directory in _DIRECTORIES:
            (root / directory).mkdir(parents=True, exist_ok=True)
        shared = root / _SHARED
        if not shared.is_symlink() and not shared.exists():
            shared.symlink_to(layout.shared)
        _programs(root)
        _definitions(root / "srv/ganeti/os")
    except OSError as error:
        raise _failed(root, error) from error


def make_crew(layout: Layout, crew: Crew) -> None:
    """What the process with the agents of simulated nodes needs to be started."""
    root = layout.root(crew)
    try:
        for directory in ("bin", "etc/gantry", "var/log/gantry"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        _daemons(root)
    except OSError as error:
        raise _failed(root, error) from error


def remove(layout: Layout, node: LocalNode) -> None:
    """A node's whole root: for one that never became a member."""
    root = layout.root(node)
    try:
        shutil.rmtree(root)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(root, error) from error


def _daemons(root: Path) -> None:
    """The program ``gantry``."""
    call = "from gantry.main.gantry import main\n\nraise SystemExit(main())\n"
    _script(root, "gantry", f"#!{sys.executable} -I\nimport os\n\n{_place(root)}{call}")


def _place(root: Path) -> str:
    return f'os.environ.setdefault("GANTRY_ROOT", {str(root)!r})\n'


def _programs(root: Path) -> None:
    _daemons(root)
    for name in PROGRAMS:
        call = f'from gantry.main.gnt import run\n\nrun("{name}")\n'
        # Without site, whose search for packages is a tenth of a short command.
        begin = f"#!{sys.executable} -IS\nimport os\nimport sys\n\nsys.path += {_packages()!r}\n"
        _script(root, name, begin + _place(root) + call)


def _packages() -> list[str]:
    """Where our own package is, and those that it needs."""
    ours = Path(gantry.__file__).parents[1]
    others = (Path(one) for one in sys.path)
    kept = [one for one in others if one.name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys(str(one) for one in (ours, *kept)))


def _script(root: Path, name: str, text: str) -> None:
    file = root / "bin" / name
    if file.exists() and file.read_text() == text:
        return
    temporary = file.with_name(f".{name}.new")
    temporary.write_text(text)
    temporary.chmod(0o755)
    temporary.replace(file)


def _definitions(target: Path) -> None:
    for definition in sorted(shipped("os").iterdir()):
        if not (definition / "ganeti_api_version").is_file():
            continue
        place = target / definition.name
        if place.exists():
            continue
        temporary = target / f".{definition.name}.new"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(definition, temporary, ignore=shutil.ignore_patterns("__pycache__"))
        temporary.rename(place)


def link_or_copy(source: Path, target: Path) -> None:
    """The same content under another name; at once where both are on one file system."""
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def _failed(root: Path, error: OSError) -> OperationFailed:
    where = error.filename or root
    return OperationFailed(
        f"cannot prepare the node's files: {where}: {error.strerror or error}",
        "check the directory's rights and its free space, and repeat",
        reason=Reason.ENVIRONMENT,
    )
