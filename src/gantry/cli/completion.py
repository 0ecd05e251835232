"""The bash completion of all programs, as one static script; made from their own parsers.

The script asks the programs themselves for names when it completes. It is written once, so
nothing here needs to be fast.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from shlex import quote
from typing import Final

from gantry.cli import ganeti_options
from gantry.cli.program import parser_of
from gantry.cli.programs import ALIASES, PROGRAMS

_NAMES: Final = {
    "instance": "gnt-instance list -o name --no-headers",
    "node": "gnt-node list -o name --no-headers",
    "group": "gnt-group list -o name --no-headers",
    "os": "gnt-os list --no-headers",
    "job": "gnt-job list -o id --no-headers",
}
"""How to ask for the names of each kind of object."""
_OPTIONS: Final = {
    "--node": "node",
    "--src-node": "node",
    "--instance": "instance",
    "-n": "node",
    "--os-type": "os",
    "--node-group": "group",
    "-g": "group",
}
"""Options whose value is the name of an object."""
_FILES: Final = frozenset({"DIR", "FILE", "SCRIPT"})
"""What an argument is called that is on this machine."""
_FLAGS: Final = (argparse._StoreTrueAction, argparse._StoreFalseAction, argparse._StoreConstAction)
_HEAD: Final = """\
# bash completion of Gantry's programs; load it with: source <(gantry completion bash)

_gantry_names() {
    # Nobody presses Tab to wait for a master.
    local -x GANTRY_PATIENCE=0
    case $1 in
%(names)s
    esac 2>/dev/null
}

# Not compgen -W: that would run what stands in a word.
_gantry_offer() {
    local - word
    set -f
    COMPREPLY=()
    for word in $2; do
        [[ $word == "$1"* ]] && COMPREPLY+=("$word")
    done
}

_gantry() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local program=${COMP_WORDS[0]##*/} command=${COMP_WORDS[1]} options= words= kind=
    # Bash takes --option=value for three words.
    if [[ $current == = ]]; then current=
    elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if ((COMP_CWORD == 1)); then
        case $program in
%(programs)s
        esac
        _gantry_offer "$current" "$words"
        return
    fi
    case "$program $command" in
%(commands)s
    esac
    case "$program $command $previous" in
%(values)s
        *)
            if [[ $current == -* ]]; then words=$options
            elif [[ $kind == files ]]; then
                mapfile -t COMPREPLY < <(compgen -f -- "$current")
                return
            elif [[ $kind ]]; then words=$(_gantry_names "$kind")
            fi ;;
    esac
    _gantry_offer "$current" "$words"
}

complete -F _gantry %(complete)s
"""


def script(more: Mapping[str, Sequence[str]] | None = None) -> str:
    """The script; ``more`` are sub-commands of programs that are not ``gnt-*``."""
    words = {
        program: [*commands, *ALIASES.get(program, {})] for program, commands in PROGRAMS.items()
    }
    words.update((program, list(commands)) for program, commands in (more or {}).items())
    parts = {
        "names": _cases({kind: ask for kind, ask in _NAMES.items()}, 8),
        "programs": _cases({name: f"words={quote(' '.join(one))}" for name, one in words.items()}),
        "commands": _cases(dict(_commands())),
        "values": _cases(dict(_values())),
        "complete": " ".join(words),
    }
    return _HEAD % parts


def _cases(choices: Mapping[str, str], indent: int = 12) -> str:
    return "\n".join(f"{' ' * indent}{name}) {does} ;;" for name, does in choices.items())


def _commands() -> Iterator[tuple[str, str]]:
    """For each command its options, and the kind of object that its names are."""
    for program, names, parser in _parsers():
        taken = [
            option
            for action in parser._actions
            if action.help is not argparse.SUPPRESS and action.dest != ganeti_options.DESTINATION
            for option in action.option_strings
            if option.startswith("--")
        ]
        kind = _kind(program, parser)
        does = f"options={quote(' '.join(taken))}" + (f" kind={kind}" if kind else "")
        yield "|".join(quote(f"{program} {name}") for name in names), does


def _kind(program: str, parser: argparse.ArgumentParser) -> str:
    """What the command's names are of; empty where it has none, or nobody can list them."""
    named = [action.metavar for action in parser._actions if not action.option_strings]
    if _FILES.intersection(map(str, named)):
        return "files"
    kind = program.removeprefix("gnt-")
    return kind if named and kind in _NAMES else ""


def _values() -> Iterator[tuple[str, str]]:
    """For each option with a value: its choices, or the names that it may be."""
    for program, names, parser in _parsers():
        for action in parser._actions:
            does = _value(action)
            if does:
                yield (
                    "|".join(
                        quote(f"{program} {name} {option}")
                        for name in names
                        for option in action.option_strings
                    ),
                    does,
                )


def _value(action: argparse.Action) -> str:
    if not action.option_strings or isinstance(action, _FLAGS):
        return ""
    if action.choices:
        return f"words={quote(' '.join(map(str, action.choices)))}"
    kinds = [_OPTIONS[option] for option in action.option_strings if option in _OPTIONS]
    return f"words=$(_gantry_names {kinds[0]})" if kinds else ""


def _parsers() -> Iterator[tuple[str, list[str], argparse.ArgumentParser]]:
    """Every command: its program, its name and aliases, its parser."""
    for program, commands in PROGRAMS.items():
        aliases = ALIASES.get(program, {})
        for name, command in commands.items():
            module = import_module(f"gantry.cli.{command.module}")
            names = [name, *(short for short, long in aliases.items() if long == name)]
            yield program, names, parser_of(program, name, command, module)
