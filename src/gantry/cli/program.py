"""Runs one ``gnt-*`` program: finds the command, fills in its parser alone, calls it.

What a command does is in its own module. Nothing here is imported that a listing does not need:
every command pays for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from gantry import __version__
from gantry.cli import errors
from gantry.cli.programs import ALIASES, PROGRAMS, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any, NoReturn

# argparse asks for a translation of its words, which there is none of, and searches the file
# system for it each time: 3 ms of each command.
vars(argparse)["_"] = str

_HELP = ("-h", "--help", "help")
INTERRUPTED = 130
_NAME = "\0"
"""Marks what looks like an option after ``--``; no argument of a process has it in it."""
_NAMES = "-\0"
"""Stands for ``--``, so that an option before it does not take the word after it."""


class Parser(argparse.ArgumentParser):
    """Errors on one line with a way on (or as JSON), exit status 2; options in any place."""

    as_json = False

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments; options may stand between and after names."""
        self.as_json = "--json" in argv
        if "--" in argv:
            return self._parse_names(argv)
        found, left = self.parse_known_args(argv)
        # This takes 6 ms more.
        return self.parse_intermixed_args(argv) if left else found

    def _parse_names(self, argv: Sequence[str]) -> argparse.Namespace:
        """``--`` keeps what follows from being options; argparse forgets it between names."""
        end = argv.index("--")
        head = argv[:end]
        names = [_NAME + one if one.startswith("-") else one for one in argv[end + 1 :]]
        self.as_json = "--json" in head
        self.add_argument(_NAMES, dest=_NAMES, action="store_true", help=argparse.SUPPRESS)
        found = self.parse_intermixed_args([*head, _NAMES, *names])
        values = {key: _unmarked(value) for key, value in vars(found).items() if key != _NAMES}
        return argparse.Namespace(**values)

    def _parse_optional(self, arg_string: str) -> Any:
        # Values such as -1:remove are no options, though they begin with a dash.
        if arg_string[:1] == "-" and arg_string[1:2].isdigit():
            return None
        return super()._parse_optional(arg_string)

    def error(self, message: str) -> NoReturn:  # noqa: D102 - argparse documents it
        wrong = errors.Usage(message.replace(_NAME, ""), f"see {self.prog} --help")
        raise SystemExit(errors.report(wrong, self.as_json))


def main(program: str, argv: Sequence[str], bench: Callable[[], Any] | None = None) -> int:
    """Run ``program`` with ``argv`` and return its exit status.

    ``bench`` makes what a command that needs no cluster does its work with.
    """
    return _guarded(lambda: _chosen(program, argv, bench), "--json" in argv)


def _chosen(program: str, argv: Sequence[str], bench: Callable[[], Any] | None) -> int:
    commands = PROGRAMS[program]
    if not argv or argv[0] in _HELP:
        (sys.stdout if argv else sys.stderr).write(overview(program))
        return 0 if argv else errors.USAGE
    if argv[0] == "--version":
        sys.stdout.write(f"{program} (gantry) {__version__}\n")
        return 0
    name = ALIASES.get(program, {}).get(argv[0], argv[0])
    command = commands.get(name)
    if command is None:
        raise _unknown(program, argv[0])
    return _run(program, name, command, argv[1:], bench)


def _guarded(work: Callable[[], int], as_json: bool) -> int:
    try:
        status = work()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Who reads our output has left (such as head); that is no error of ours.
        _discard_output()
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError):
            _discard_output()
        return errors.report(error, as_json)


def _run(
    program: str,
    name: str,
    command: Command,
    argv: Sequence[str],
    bench: Callable[[], Any] | None = None,
) -> int:
    module = import_module(f"gantry.cli.{command.module}")
    try:
        arguments = parser_of(program, name, command, module).parse(argv)
    except SystemExit as end:
        # Of --help, --version and wrong use.
        return int(end.code or 0)
    arguments.program, arguments.command, arguments.bench = program, name, bench
    status: int = module.run(arguments)
    return status


def parser_of(program: str, name: str, command: Command, module: ModuleType) -> Parser:
    """The command's own parser, with its examples at the end of ``--help``."""
    shown = _examples(program, module.EXAMPLES)
    parser = Parser(
        prog=f"{program} {name}",
        description=command.help + ".",
        epilog=f"examples:\n{shown}" if shown else None,
        formatter_class=_formatter,
    )
    parser.add_argument("-d", "--debug", action="count", default=0, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="machine-readable output, sizes in MiB")
    parser.add_argument("--reason", metavar="TEXT", help="why; kept with the jobs it makes")
    parser.add_argument(
        "--version", action="version", version=f"{program} (gantry) {__version__}", help="show it"
    )
    module.options(parser)
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    """As wide as argparse would make it, which loads shutil (3 ms of each command) to find out."""
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdigit() else 0
    if not width:
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns
        except (AttributeError, OSError, ValueError):
            width = 0
    return argparse.RawDescriptionHelpFormatter(prog, width=(width or 80) - 2)


def overview(program: str) -> str:
    """What ``--help`` of the program itself shows."""
    lines = [f"usage: {program} COMMAND [options]", "", "commands:"]
    width = max(len(name) for name in PROGRAMS[program])
    lines += [f"  {name:<{width}}  {command.help}" for name, command in PROGRAMS[program].items()]
    aliases = ", ".join(f"{short} = {name}" for short, name in ALIASES.get(program, {}).items())
    if aliases:
        lines += ["", f"also: {aliases}"]
    lines += ["", f"{program} COMMAND --help explains a command, with examples."]
    return "\n".join(lines) + "\n"


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    return value.removeprefix(_NAME) if isinstance(value, str) else value


def _examples(program: str, text: str) -> str:
    """Tag commands are many programs' and show each its own examples; lines may go on."""
    lines = text.strip("\n").splitlines()
    own = [line for line in lines if line.startswith((f"{program} ", " "))]
    return "".join(f"  {line}\n" for line in own or lines)


def _unknown(program: str, given: str) -> errors.Usage:
    from difflib import get_close_matches

    aliases = ALIASES.get(program, {})
    near = get_close_matches(given, [*PROGRAMS[program], *aliases], 1)
    hint = f"did you mean {program} {near[0]}?" if near else f"see {program} --help"
    return errors.Usage(f"{program} has no command {given!r}", hint)


def _discard_output() -> None:
    """So that the interpreter's end does not complain about what could not be written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        # No real standard output: nothing will be written to it.
        return
    finally:
        os.close(nowhere)
