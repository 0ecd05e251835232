"""Runs one ``gnt-*`` program: finds the command, fills in its parser alone, calls it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import NoReturn

from gantry import __version__
from gantry.cli import errors, options
from gantry.cli.programs import ALIASES, PROGRAMS, Command


class Parser(argparse.ArgumentParser):
    """Errors on one line with a way on, exit status 2."""

    def error(self, message: str) -> NoReturn:  # noqa: D102 - argparse documents it
        sys.stderr.write(f"Error: {message}\n  see {self.prog} --help\n")
        raise SystemExit(errors.USAGE)


def main(program: str, argv: Sequence[str]) -> int:
    """Run ``program`` with ``argv`` and return its exit status."""
    commands = PROGRAMS[program]
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview(program))
        return 0 if argv else errors.USAGE
    if argv[0] == "--version":
        sys.stdout.write(f"{program} (gantry) {__version__}\n")
        return 0
    name = ALIASES.get(program, {}).get(argv[0], argv[0])
    command = commands.get(name)
    if command is None:
        near = get_close_matches(argv[0], [*commands, *ALIASES.get(program, {})], 1)
        hint = f"did you mean {near[0]}?" if near else f"see {program} --help"
        sys.stderr.write(f"Error: {program} has no command {argv[0]!r}\n  {hint}\n")
        return errors.USAGE
    return call(program, name, command, argv[1:])


def call(program: str, name: str, command: Command, argv: Sequence[str]) -> int:
    """Import the command's module, parse, run; its errors become text and a status."""
    module = importlib.import_module(f"gantry.cli.{command.module}")
    parser = parser_of(program, name, command, module)
    arguments = parser.parse_args(options.plain(argv))
    arguments.program, arguments.command = program, name
    try:
        status: int = module.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Who reads our output has left (such as head); that is no error of ours.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    except Exception as error:
        return errors.report(error, getattr(arguments, "json", False))


def parser_of(program: str, name: str, command: Command, module: ModuleType) -> Parser:
    """The command's own parser, with its examples at the end of ``--help``."""
    examples = "".join(f"  {line}\n" for line in module.EXAMPLES.strip().splitlines())
    parser = Parser(
        prog=f"{program} {name}",
        description=command.help + ".",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-d", "--debug", action="count", default=0, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="machine-readable output, sizes in MiB")
    module.options(parser)
    return parser


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
