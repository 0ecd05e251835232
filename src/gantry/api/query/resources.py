"""The table of what can be listed, and where its objects come from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gantry.api.query import group, instance, job, lock, node, os
from gantry.api.query.resource import Resource, Wanted
from gantry.api.query.view import View, natural
from gantry.api.services import LockRow, Services
from gantry.model import oses
from gantry.model.entities import Group, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.jobs import Job
from gantry.model.names import JobId
from gantry.model.oses import ClusterOs
from gantry.ports.queue import Queue


def table(queue: Queue, services: Services) -> dict[str, Resource]:
    """All resources by name."""
    return {
        "instance": Resource(
            instance.FIELDS,
            _instances,
            _name,
            lambda view, objects, name: view.cluster.instance(name),
            instance.depends,
        ),
        "node": Resource(
            node.FIELDS, _nodes, _name, lambda view, objects, name: view.cluster.node(name)
        ),
        "group": Resource(
            group.FIELDS, _groups, _name, lambda view, objects, name: view.cluster.group(name)
        ),
        "job": Resource(job.FIELDS, _jobs(queue), lambda one: str(one.id), _job),
        "os": Resource(os.FIELDS, _oses(services), _name, _by_name("OS definition", "gnt-os list")),
        "lock": Resource(lock.FIELDS, _locks(services), _name, _by_name("lock", "gnt-debug locks")),
    }


def _name(one: Any) -> str:
    return str(one.name)


async def _instances(view: View, wanted: Wanted) -> Sequence[Instance]:
    return view.ordered


async def _nodes(view: View, wanted: Wanted) -> Sequence[Node]:
    return sorted(view.cluster.nodes.values(), key=lambda one: natural(one.name))


async def _groups(view: View, wanted: Wanted) -> Sequence[Group]:
    return sorted(view.cluster.groups.values(), key=lambda one: natural(one.name))


def _jobs(queue: Queue) -> Callable[[View, Wanted], Awaitable[Sequence[Job]]]:
    """Archived jobs are fetched only for who names one, or filters by ``archived``."""

    async def jobs(view: View, wanted: Wanted) -> Sequence[Job]:
        present = queue.jobs()
        if wanted.names:
            known = {str(one.id) for one in present}
            absent = {name for name in wanted.names if name not in known and _number(name)}
            return [*[await queue.get(JobId(int(name))) for name in sorted(absent)], *present]
        if "archived" in wanted.fields:
            return [*await queue.archived(), *present]
        return present

    return jobs


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


def _job(view: View, objects: Sequence[Job], name: str) -> Job:
    found = [one for one in objects if _number(name) and one.id == int(name)]
    if not found:
        raise Rejected(
            f"there is no job {name!r}", "gnt-job list shows them", reason=Reason.UNKNOWN
        )
    return found[0]


def _oses(services: Services) -> Callable[[View, Wanted], Awaitable[Sequence[ClusterOs]]]:
    async def found(view: View, wanted: Wanted) -> Sequence[ClusterOs]:
        answers = await services.diagnose_oses()
        return oses.combine({node: answer.oses for node, answer in answers.items()})

    return found


def _locks(services: Services) -> Callable[[View, Wanted], Awaitable[Sequence[LockRow]]]:
    async def locks(view: View, wanted: Wanted) -> Sequence[LockRow]:
        return services.locks()

    return locks


def _by_name(what: str, listing: str) -> Callable[[View, Sequence[Any], str], Any]:
    def find(view: View, objects: Sequence[Any], name: str) -> Any:
        for one in objects:
            if one.name == name:
                return one
        raise Rejected(
            f"there is no {what} {name!r}", f"{listing} shows them", reason=Reason.UNKNOWN
        )

    return find
