"""``--dry-run`` is there for every command that submits a job."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from gantry.cli import options, program
from gantry.cli.programs import PROGRAMS

SHARES: dict[tuple[str, str], str] = {
    ("gnt-cluster", "init"): "there is no cluster yet; it shares the options of modify",
    ("gnt-hook", "diff"): "it shares what push knows of bundles",
    ("gnt-hook", "status"): "it shares what push knows of bundles",
    ("gnt-os", "diff"): "it shares what push knows of bundles",
    ("gnt-os", "status"): "it shares what push knows of bundles",
    **{
        (name, "list-tags"): "it shares whose tags are meant"
        for name in ("gnt-cluster", "gnt-group", "gnt-instance", "gnt-node")
    },
}
"""Commands that submit nothing although a module of theirs names an operation."""


@cache
def tree(module: str) -> ast.Module:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text("utf-8"))


def imported(module: str) -> set[str]:
    """Modules of the commands that it imports, wherever in it."""
    found = set()
    for one in ast.walk(tree(module)):
        if isinstance(one, ast.ImportFrom) and (one.module or "").startswith("gantry.cli"):
            names = [f"{one.module}.{each.name}" for each in one.names]
            found |= {name if find_spec_of(name) else str(one.module) for name in names}
    return found - {"gantry.cli"}


def find_spec_of(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def closure(module: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    seen |= {module}
    for one in imported(module) - seen:
        seen = closure(one, seen)
    return seen


def operates(module: str) -> bool:
    """Whether it, or what it imports of the commands, makes an operation."""
    return any(
        isinstance(one, ast.Constant) and one.value == "OP_ID"
        for name in closure(module)
        for one in ast.walk(tree(name))
    )


OPERATING = [
    (name, command)
    for name, commands in PROGRAMS.items()
    for command, found in commands.items()
    if operates(f"gantry.cli.{found.module}")
]


@pytest.mark.parametrize(("name", "command"), sorted(set(OPERATING) - set(SHARES)))
def test_every_command_that_submits_a_job_can_be_tried(name: str, command: str) -> None:
    found = PROGRAMS[name][command]
    module = importlib.import_module(f"gantry.cli.{found.module}")
    parser = program.parser_of(name, command, found, module)
    taken = {option for action in parser._actions for option in action.option_strings}
    assert {"--dry-run", "--dry-run=hooks"} <= taken


def test_what_shares_a_module_only_is_known_and_has_no_job_of_its_own() -> None:
    assert set(SHARES) <= set(OPERATING)
    for name, command in SHARES:
        text = ast.unparse(tree(f"gantry.cli.{PROGRAMS[name][command].module}"))
        assert "jobs." not in text
        assert "submit" not in text


def test_nothing_is_submitted_without_the_word_whether_it_is_tried() -> None:
    parser = program.Parser(prog="gnt-any")
    arguments = parser.parse_args([])
    arguments.program, arguments.command, arguments.reason = "gnt-any", "any", None
    with pytest.raises(AttributeError, match="dry_run"):
        options.submission(arguments)
