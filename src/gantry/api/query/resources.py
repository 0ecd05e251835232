"""The table of what can be listed, and where its objects come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gantry.api.query import instance
from gantry.api.query.resource import Resource, Wanted
from gantry.api.query.view import View
from gantry.api.services import Services
from gantry.model.entities import Instance
from gantry.ports.queue import Queue


def table(queue: Queue, services: Services) -> dict[str, Resource]:
    """All resources by name."""

    async def instances(view: View, wanted: Wanted) -> Sequence[Instance]:
        return view.ordered

    return {
        "instance": Resource(
            instance.FIELDS,
            instances,
            _name,
            lambda view, objects, name: view.cluster.instance(name),
            instance.depends,
        ),
    }


def _name(one: Any) -> str:
    return str(one.name)
