"""What the results of a phase mean: only an error that a script returned denies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from gantry.model.errors import HooksDenied, Reason
from gantry.model.orders import ScriptResult, ScriptStatus

_USUAL: Final = 1
"""The exit status of a failure."""


class NodeScripts(msgspec.Struct, frozen=True, kw_only=True):
    """What a phase's scripts did on one node; ``problem`` where it could not be reached.

    ``refused``: it was reached and did not run them, or the policy says that it must be.
    """

    node: str
    results: tuple[ScriptResult, ...] = ()
    problem: str = ""
    refused: bool = False


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A script that failed: ``directory/name``, and what it said, on one line.

    ``message`` is what it wrote for the operator to its verdict.
    """

    node: str
    script: str
    said: str
    message: str = ""

    @property
    def output(self) -> str:
        """Both."""
        return f"{self.said}, message: {self.message}" if self.message else self.said


def failures(nodes: Iterable[NodeScripts]) -> list[Failure]:
    """Every script that failed on any node."""
    return [
        Failure(
            node=node.node,
            script=f"{one.directory}/{one.script}",
            said=_said(one),
            message=_one_line(one.message),
        )
        for node in nodes
        for one in node.results
        if one.status is ScriptStatus.FAILED
    ]


def denial(nodes: Iterable[NodeScripts]) -> HooksDenied | None:
    """The denial of a pre phase, naming every script that failed; None where none did."""
    nodes = tuple(nodes)
    lines = [
        f"  node: {one.node}, script: {one.script}, output: {one.output}" for one in failures(nodes)
    ]
    # Only a node that is away is passed over: one that is there must have had its say.
    lines += [
        f"  node: {one.node}, script: (all), output: (not run: {one.problem})"
        for one in nodes
        if one.refused
    ]
    if not lines:
        return None
    return HooksDenied(
        "hooks execution failed:\n" + "\n".join(lines),
        "nothing was changed; the scripts are the site's own rules",
        reason=Reason.STATE,
    )


def warnings(nodes: Iterable[NodeScripts]) -> list[str]:
    """Lines for the job's log after a post phase: failed scripts change nothing any more."""
    return [
        f"On {one.node} script {one.script} failed, output: {one.output}" for one in failures(nodes)
    ]


def notices(nodes: Iterable[NodeScripts]) -> list[str]:
    """What scripts that did not fail wrote for the operator."""
    return [
        f"{node.node} {one.directory}/{one.script}: {_one_line(one.message)}"
        for node in nodes
        for one in node.results
        if one.message and one.status is not ScriptStatus.FAILED
    ]


def cautions(nodes: Iterable[NodeScripts]) -> list[str]:
    """What scripts warn of, whatever became of them."""
    return [
        f"{node.node} {one.directory}/{one.script} warns: {_one_line(text)}"
        for node in nodes
        for one in node.results
        for text in one.warnings
    ]


def binding(
    nodes: Iterable[NodeScripts], deny: Callable[[NodeScripts], bool | str]
) -> tuple[NodeScripts, ...]:
    """The same, but a node that could not be reached counts where ``deny`` says so.

    A text that ``deny`` gives says why.
    """
    found = []
    for node in nodes:
        why = deny(node) if node.problem and not node.refused else False
        if why:
            said = why if isinstance(why, str) else "on-unreachable is deny on the master node"
            problem = f"{node.problem}; {said}"
            node = msgspec.structs.replace(node, problem=problem, refused=True)
        found.append(node)
    return tuple(found)


def unreachable(nodes: Iterable[NodeScripts], phase: str) -> list[str]:
    """Lines for the job's log about nodes that could not be asked; that is no denial."""
    return [
        f"node {node.node} could not run its {phase} scripts, which does not count "
        f"as a denial: {node.problem}"
        for node in nodes
        if node.problem and not (node.refused and phase == "pre")
    ]


def _said(result: ScriptResult) -> str:
    """The output on one line, as scripts of operators expect it.

    How the script ended is said where that was not the usual exit status 1, with which the line
    is Ganeti's to the letter.
    """
    text = result.output.strip()
    shown = _one_line(text) if text else "(no output)"
    if result.problem:
        return f"{shown} ({result.problem})"
    if result.signal is not None:
        return f"{shown} (ended by signal {result.signal})"
    if result.exit_status is not None and result.exit_status != _USUAL:
        return f"{shown} (exit status {result.exit_status})"
    return shown


def _one_line(text: str) -> str:
    return escaped(text.strip())


def escaped(text: str) -> str:
    """On one line: all but printable ASCII as an escape."""
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    """Printable ASCII as it is, a backslash included; everything else as an escape."""
    if " " <= character <= "~":
        return character
    return character.encode("unicode_escape").decode("ascii")
