"""One kind of row: its fields, its objects, how one is found by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from gantry.api.query.fields import Fields
from gantry.api.query.view import View


class Wanted(msgspec.Struct, frozen=True):
    """What a query asks for; ``fields`` are the names of those that its filter looks at."""

    names: tuple[str, ...] = ()
    fields: frozenset[str] = frozenset()


class Resource(msgspec.Struct, frozen=True):
    """``objects`` gives all, in the order of listings; ``find`` one by name, or Rejected.

    ``depends`` is what a row is made of beside the cluster, its groups and its nodes; without it
    rows are made anew each time.
    """

    fields: Fields[View, Any]
    objects: Callable[[View, Wanted], Awaitable[Sequence[Any]]]
    name_of: Callable[[Any], str]
    find: Callable[[View, Sequence[Any], str], Any]
    depends: Callable[[View, Any], tuple[Any, ...]] | None = None
