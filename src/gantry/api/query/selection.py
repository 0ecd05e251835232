"""Which objects are meant by names: whole, shortened, or with ``*`` and ``?``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from gantry.model.errors import Rejected

O = TypeVar("O")  # noqa: E741 - the object of a row

_GLOB: Final = re.compile(r"[*?]")
_MOST: Final = 10_000


def parse(text: str) -> list[str]:
    """The names in ``a,b``."""
    names = [name for name in text.split(",") if name]
    if len(names) > _MOST:
        raise Rejected(f"that are too many names: at most {_MOST}")
    return names


def glob(pattern: str) -> Callable[[str], bool]:
    """Whether a whole name fits ``pattern``; case does not matter. Only * and ? are special."""
    escaped = pattern.replace("[", "[[]")
    fits = re.compile(fnmatch.translate(escaped), re.IGNORECASE).match
    return lambda name: fits(name) is not None


def select(
    names: Sequence[str],
    objects: Iterable[O],
    name_of: Callable[[O], str],
    find: Callable[[str], O],
) -> list[O]:
    """The objects meant, each once, in the order of ``names``.

    ``find`` resolves one name, or raises Rejected. A pattern may fit nothing.
    """
    every: list[O] | None = None
    found: dict[int, O] = {}
    for name in names:
        if not _GLOB.search(name):
            one = find(name)
            found[id(one)] = one
            continue
        every = list(objects) if every is None else every
        fits = glob(name)
        for one in every:
            if fits(name_of(one)):
                found[id(one)] = one
    return list(found.values())
