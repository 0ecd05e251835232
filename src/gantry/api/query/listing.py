"""Answers queries: chooses objects, filters them, keeps rows and whole answers that still hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gantry.api.query import filters, rows, selection
from gantry.api.query.fields import Field
from gantry.api.query.resource import Resource, Wanted
from gantry.api.query.rows import Kept
from gantry.api.query.view import View
from gantry.model.errors import Reason, Rejected
from gantry.ports.queue import Queue

_MOST_KEPT: Final = 8
"""Choices of fields whose rows are kept, for each resource."""

Chosen = tuple[Field[View, Any], ...]


class Listings:
    """One for a master: it holds the rows that were made."""

    def __init__(self, queue: Queue, resources: Mapping[str, Resource]) -> None:
        self._queue = queue
        self._resources = resources
        self._view: View | None = None
        self._kept: dict[str, dict[str, Kept[View, Any]]] = {name: {} for name in resources}
        self._whole: dict[tuple[str, str], tuple[View, bytes]] = {}

    def describe(self, name: str) -> list[dict[str, str]]:
        """All fields of a resource."""
        return [field.described() for field in self._resource(name).fields.all()]

    async def answer(self, name: str, fields: str, names: str, filter_text: str) -> bytes:
        """``{"fields": […], "rows": […], "missing": […]}`` as JSON.

        Rejected: no such resource or object, a filter that makes no sense; UnknownField.
        """
        resource = self._resource(name)
        chosen = resource.fields.chosen(fields)
        view = self._now()
        all_of_them = not names and not filter_text and resource.depends is not None
        if all_of_them:
            whole = self._whole.get((name, fields))
            if whole is not None and whole[0] is view:
                return whole[1]
        objects = await self._objects(resource, view, names, filter_text)
        made = self._rows(name, resource, fields, chosen, view, objects)
        data = rows.document(chosen, made)
        if all_of_them:
            if len(self._whole) >= _MOST_KEPT:
                self._whole.clear()
            self._whole[name, fields] = (view, data)
        return data

    def view(self) -> View:
        """The cluster now."""
        return self._now()

    def _resource(self, name: str) -> Resource:
        found = self._resources.get(name)
        if found is None:
            raise Rejected(
                f"there is nothing called {name!r} to list",
                "there are " + ", ".join(self._resources),
                reason=Reason.UNKNOWN,
            )
        return found

    def _now(self) -> View:
        cluster, before = self._queue.snapshot(), self._view
        if before is not None and before.shows(cluster):
            return before
        self._view = now = View(cluster, before)
        if not now.same_frame(before):
            for kept in self._kept.values():
                kept.clear()
        return now

    async def _objects(
        self, resource: Resource, view: View, names: str, filter_text: str
    ) -> Sequence[Any]:
        wanted = selection.parse(names)
        condition = filters.compiled(filter_text, resource.fields) if filter_text else None
        looked_at = condition.fields if condition else frozenset()
        objects = await resource.objects(view, Wanted(tuple(wanted), looked_at))
        if wanted:
            objects = selection.select(
                wanted,
                objects,
                resource.name_of,
                lambda one: resource.find(view, objects, one),
            )
        return condition.choose(view, objects) if condition else objects

    def _rows(
        self,
        name: str,
        resource: Resource,
        fields: str,
        chosen: Chosen,
        view: View,
        objects: Sequence[Any],
    ) -> list[tuple[bytes, tuple[rows.Gap, ...]]]:
        if resource.depends is None:
            return [rows.row(chosen, view, one) for one in objects]
        kept = self._kept[name]
        if fields not in kept:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            kept[fields] = Kept(chosen, resource.depends)
        found = kept[fields].rows(view, objects)
        if len(kept[fields]) > 2 * len(view.cluster.instances) + 100:
            kept[fields].forget(view.cluster.instances)
        return found
