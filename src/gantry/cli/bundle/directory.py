"""A directory as a bundle: what ``push`` sends and ``diff`` compares."""

from __future__ import annotations

from pathlib import Path

from gantry.cli.errors import Usage
from gantry.model import bundles
from gantry.model.bundles import BundleFile
from gantry.model.errors import Rejected


def read(name: str) -> tuple[BundleFile, ...]:
    """Every file below it; Usage where one cannot be in a bundle.

    What is hidden is left out, and what Python keeps of modules that it has read.

    A link is followed where it leads to a file of the same directory.
    """
    top = Path(name)
    if not top.is_dir():
        raise Usage(f"{name} is no directory", "give one with what is to be pushed in it")
    try:
        return bundles.check(_file(top, place) for place in _places(top))
    except Rejected as error:
        raise Usage(f"{name}: {error.message}", error.hint) from None
    except OSError as error:
        raise Usage(f"{name} cannot be read: {error.strerror} ({error.filename})") from None


def _places(directory: Path) -> list[Path]:
    found = []
    for place in sorted(directory.iterdir()):
        if place.name.startswith(".") or place.name == "__pycache__":
            continue
        if place.is_dir() and not place.is_symlink():
            found += _places(place)
        else:
            found.append(place)
    return found


def _file(top: Path, place: Path) -> BundleFile:
    path = str(place.relative_to(top))
    bundles.check_path(path)
    try:
        real = place.resolve()
    except RuntimeError:
        # Python before 3.13 says it so where links go round in a circle.
        raise Rejected(f"{path} is a link in a circle", "remove it, or mend it") from None
    if place.is_symlink() and not real.is_relative_to(top.resolve()):
        raise Rejected(f"{path} is a link out of the directory", "put the file itself there")
    if not real.is_file():
        raise Rejected(f"{path} is no file", "only files, and links to files, can be in a bundle")
    size = real.stat().st_size
    if size > bundles.MAX_CONTENT:
        raise Rejected(f"{path} has {size} bytes; a bundle has at most {bundles.MAX_CONTENT}")
    mode = bundles.normal_mode(real.stat().st_mode)
    return BundleFile(path=path, mode=mode, content=real.read_bytes())
