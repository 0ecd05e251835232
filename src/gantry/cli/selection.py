"""Which instances a command means: names, or all of a node, of a tag, of the cluster.

One job an instance; what it does is the command's.
"""

from __future__ import annotations

import sys

from gantry.cli import confirm, errors, jobs
from gantry.cli import options as shared
from gantry.cli.errors import Usage
from gantry.client.connection import Connection, quoted
from gantry.client.errors import ApiError
from gantry.client.jobs import submission

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

_MODES = ("all", "primary", "secondary", "node", "instance")
_TAGS = ("tags", "node_tags", "pri_node_tags", "sec_node_tags")


def options(parser: argparse.ArgumentParser) -> None:
    """Names, and the selectors of multi-instance commands."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="instances, or nodes or tags")
    group = parser.add_argument_group("which instances")
    group.add_argument("--instance", action="store_true", help="the names are instances (usual)")
    group.add_argument("--all", action="store_true", help="all instances of the cluster")
    group.add_argument("--node", action="store_true", help="all of the named nodes")
    group.add_argument("--primary", action="store_true", help="with the named nodes as primary")
    group.add_argument("--secondary", action="store_true", help="… as secondary")
    group.add_argument("--tags", action="store_true", help="with the named tags")
    group.add_argument("--node-tags", action="store_true", help="on nodes with the named tags")
    group.add_argument("--pri-node-tags", action="store_true", help="… their primary nodes")
    group.add_argument("--sec-node-tags", action="store_true", help="… their secondary nodes")
    group.add_argument(
        "--force-multiple", action="store_true", help="do not ask, although there are several"
    )


def select(arguments: argparse.Namespace) -> list[str]:
    """The names of the instances meant; Usage where the selectors do not make sense."""
    modes = chosen(arguments)
    if len(modes) > 1:
        shown = ", ".join(f"--{mode.replace('_', '-')}" for mode in modes)
        raise Usage(f"give only one of {shown}")
    mode = modes[0] if modes else "instance"
    if mode == "all":
        if arguments.names:
            raise Usage("--all goes without names")
        return _matching(lambda row: True)
    if not arguments.names:
        raise Usage("which instances? give a name, or see --help for --all, --node, --tags")
    if mode == "instance":
        return list(dict.fromkeys(arguments.names))
    return _by_nodes(mode, arguments.names) if mode in _MODES else _by_tags(mode, arguments.names)


def run_each(
    arguments: argparse.Namespace,
    verb: str,
    operation: Callable[[str], dict[str, Any]],
    secrets: dict[str, str] | None = None,
    names: list[str] | None = None,
) -> int:
    """One job an instance, all at once; asks first where there are several.

    ``secrets`` go with each job; ``names`` are what ``select`` gave, where the command has
    asked already. The exit status is 1 where one of them failed or could not be submitted.
    """
    asked = names is not None
    names = select(arguments) if names is None else names
    if not names:
        sys.stderr.write("no instance fits\n")
        if arguments.json:
            jobs.write_json([])
        return 0
    if len(names) == 1 and not chosen(arguments):
        return jobs.run(arguments, [operation(names[0])], [secrets] if secrets else [])
    if len(names) > 1 and arguments.dry_run == "no" and not asked:
        confirm.ask(
            f"{verb} {len(names)} instances: {', '.join(names)}?",
            arguments.force_multiple,
            "--force-multiple",
        )
    return each(arguments, names, operation, secrets)


def of_node(node: str) -> list[str]:
    """The names of the instances whose primary node it is."""
    return _by_nodes("primary", [node])


def each(
    arguments: argparse.Namespace,
    names: list[str],
    operation: Callable[[str], dict[str, Any]],
    secrets: dict[str, str] | None = None,
) -> int:
    """One job an instance, all at once; the exit status is 1 where one failed."""
    submitted, status = _submit(arguments, names, operation, secrets)
    if not arguments.submit:
        return max(status, _wait(arguments, submitted))
    if arguments.json:
        jobs.write_json([{"job": job, "instance": name} for name, job in submitted.items()])
    else:
        sys.stdout.write("".join(f"{number}\n" for number in submitted.values()))
    return status


def chosen(arguments: argparse.Namespace) -> list[str]:
    """The selectors that were given."""
    return [name for name in (*_MODES, *_TAGS) if getattr(arguments, name)]


def _submit(
    arguments: argparse.Namespace,
    names: list[str],
    operation: Callable[[str], dict[str, Any]],
    secrets: dict[str, str] | None,
) -> tuple[dict[str, int], int]:
    """Jobs by instance; one that is refused does not keep back the others."""
    connection, status = Connection(), 0
    submitted: dict[str, int] = {}
    for name in names:
        beside = [secrets] if secrets else []
        body = submission([operation(name)], secrets=beside, **shared.submission(arguments))
        try:
            submitted[name] = jobs.submit(connection, body, arguments.json)
        except ApiError as error:
            status = errors.report(error, arguments.json)
    return submitted, status


def _wait(arguments: argparse.Namespace, submitted: dict[str, int]) -> int:
    worst, ended = 0, []
    for name, number in submitted.items():
        if not arguments.json:
            sys.stdout.write(f"Waiting for job {number} for {name} ...\n")
            sys.stdout.flush()
        job = jobs.watch(number, arguments.json)
        prefix = f"Job {number} for {name} has failed: "
        worst = max(worst, jobs.verdict(job, arguments.json, prefix))
        if job is None:
            # Whoever leaves one leaves them all; they go on.
            break
        ended.append({"instance": name, **jobs.summary(job)})
    if arguments.json:
        jobs.write_json(ended)
    elif ended and not worst:
        jobs.tell_trial(arguments)
    return worst


def _by_nodes(mode: str, nodes: list[str]) -> list[str]:
    wanted = {_node(name) for name in nodes}

    def meant(row: dict[str, Any]) -> bool:
        primary, secondary = {row["pnode"]} & wanted, set(row["snodes"]) & wanted
        return bool({"primary": primary, "secondary": secondary}.get(mode, primary | secondary))

    return _matching(meant)


def _by_tags(mode: str, tags: list[str]) -> list[str]:
    wanted = set(tags)
    if mode == "tags":
        return _matching(lambda row: bool(set(row["tags"]) & wanted))
    rows = Connection().get("query/node", fields="name,tags")["rows"]
    nodes = [name for name, own in rows if set(own) & wanted]
    kinds = {"pri_node_tags": "primary", "sec_node_tags": "secondary"}
    return _by_nodes(kinds.get(mode, "node"), nodes) if nodes else []


def _matching(meant: Callable[[dict[str, Any]], bool]) -> list[str]:
    fields = ("name", "pnode", "snodes", "tags")
    rows = Connection().get("query/instance", fields=",".join(fields))["rows"]
    return [row[0] for row in rows if meant(dict(zip(fields, row, strict=True)))]


def _node(name: str) -> str:
    return str(Connection().get(f"nodes/{quoted(name)}")["name"])
