"""Every command: that it is there, explains itself, and that its examples are right."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry.cli import ganeti_options, program
from gantry.cli.programs import ALIASES, PROGRAMS

COMMANDS = [
    (name, command) for name, commands in PROGRAMS.items() for command in commands
]  # fmt: skip
REMARK = re.compile(r"\s{2,}\(.*\)$")


def parser_of(name: str, command: str) -> program.Parser:
    found = PROGRAMS[name][command]
    module = importlib.import_module(f"gantry.cli.{found.module}")
    return program.parser_of(name, command, found, module)


def examples(text: str) -> Iterator[list[str]]:
    """The commands in the text of the examples, without remarks."""
    for line in text.strip().replace("\\\n", " ").splitlines():
        command = REMARK.sub("", line.strip())
        if command.startswith("gnt-"):
            yield shlex.split(command.partition(" && ")[0])


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_every_command_explains_itself_with_examples(
    name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser_of(name, command).parse_args(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {name} {command}")
    assert "examples:\n" in shown


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_every_example_can_be_typed(name: str, command: str) -> None:
    module = importlib.import_module(f"gantry.cli.{PROGRAMS[name][command].module}")
    for words in examples(module.EXAMPLES):
        typed = ALIASES.get(words[0], {}).get(words[1], words[1])
        parser_of(words[0], typed).parse(words[2:])


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_shows_its_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(name, ["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {command} " in shown for command in PROGRAMS[name])


def test_without_a_command_the_overview_is_shown_and_it_is_wrong_use(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main("gnt-instance", []) == 2
    assert "startup" in capsys.readouterr().err


def test_every_alias_means_a_command() -> None:
    for name, aliases in ALIASES.items():
        assert set(aliases.values()) <= set(PROGRAMS[name])
        assert not set(aliases) & set(PROGRAMS[name])


def test_a_mistyped_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main("gnt-instance", ["lst"]) == 2
    assert "did you mean gnt-instance list?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--version"], ["list", "--version"]])
def test_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = program.main("gnt-instance", words)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 0
    assert capsys.readouterr().out.startswith("gnt-instance (gantry) ")


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_every_command_takes_json_debug_and_reason(name: str, command: str) -> None:
    taken = {
        option for action in parser_of(name, command)._actions for option in action.option_strings
    }
    assert {"--json", "--debug", "-d", "--reason", "--version", "--help"} <= taken


@pytest.mark.parametrize(
    ("command", "words", "name", "value"),
    [
        ("remove", ["--dry-run", "web1"], "dry_run", "yes"),
        ("remove", ["--dry-run=yes", "web1"], "dry_run", "yes"),
        ("remove", ["--dry-run=hooks", "web1"], "dry_run", "hooks"),
        ("remove", ["web1"], "dry_run", "no"),
        ("modify", ["--net", "-1:remove", "web1"], "net", ["-1:remove"]),
        ("add", ["-s", "-1G", "web1"], "os_size", "-1G"),
        ("list", ["a", "-o", "name", "b", "--json", "c"], "names", ["a", "b", "c"]),
        ("list", ["--", "-a"], "names", ["-a"]),
    ],
)
def test_words_are_read_as_users_of_ganeti_mean_them(
    command: str, words: list[str], name: str, value: object
) -> None:
    assert getattr(parser_of("gnt-instance", command).parse(words), name) == value


def test_an_unknown_option_is_wrong_use_also_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main("gnt-instance", ["list", "--nonsense"]) == 2
    assert capsys.readouterr().err == (
        "Error: unrecognized arguments: --nonsense\n  see gnt-instance list --help\n"
    )
    assert program.main("gnt-instance", ["list", "--nonsense", "--json"]) == 2
    assert '"code": "usage"' in capsys.readouterr().err


def test_tag_commands_show_only_the_examples_of_their_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main("gnt-node", ["add-tags", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "gnt-node add-tags" in shown
    assert "gnt-instance" not in shown


def test_a_full_disk_under_the_output_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        monkeypatch.setattr("sys.stdout", full)
        assert program.main("gnt-cluster", ["version"]) == 1
    assert "No space left" in capsys.readouterr().err


def test_every_command_in_the_guide_can_be_typed() -> None:
    guide = Path(__file__).parents[3] / "docs/cli.md"
    lines = [line for line in guide.read_text().splitlines() if line.startswith("gnt-")]
    assert len(lines) > 30
    for line in lines:
        name, command, *words = shlex.split(line)
        parser_of(name, ALIASES.get(name, {}).get(command, command)).parse(words)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--", "web1", "web2"], ["web1", "web2"]),
        (["--json", "--", "-web1"], ["-web1"]),
        (["web1", "--static", "--", "--json", "--"], ["web1", "--json", "--"]),
        (["web1", "--"], ["web1"]),
    ],
)
def test_what_follows_two_dashes_is_a_name(words: list[str], names: list[str]) -> None:
    assert parser_of("gnt-instance", "info").parse(words).names == names


def test_an_option_does_not_take_the_name_after_two_dashes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = parser_of("gnt-instance", "remove").parse(["--dry-run", "-f", "--", "web1"])
    assert (found.name, found.force, found.dry_run) == ("web1", True, "yes")
    with pytest.raises(SystemExit):
        parser_of("gnt-instance", "list").parse(["-o", "--", "web1"])
    assert "expected one argument" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parser_of("gnt-cluster", "verify").parse(["--", "web1"])
    assert "unrecognized arguments: web1\n" in capsys.readouterr().err.replace(" \n", "\n")


def test_what_follows_two_dashes_may_be_a_number() -> None:
    assert parser_of("gnt-job", "info").parse(["7", "--json", "--", "8"]).numbers == [7, 8]


NEW_INSTANCE = """-B/--backend-parameters= --disk= -t/--disk-template= --file-storage-dir=
--file-driver= -H/--hypervisor-parameters= -I/--iallocator= --net= -n/--node= -g= --ip-check
--no-ip-check --name-check --no-name-check --no-conflicts-check --no-nics --no-wait-for-sync
-O/--os-parameters= --os-parameters-private= --os-parameters-secret= -s/--os-size= --submit
--opportunistic-locking --print-jobid --tags= --dry-run --priority= --ignore-ipolicy
--helper-startup-timeout=
--helper-shutdown-timeout= """
GANETI = {
    ("gnt-instance", "add"): NEW_INSTANCE + "--no-start -o/--os-type= --force-variant --no-install",
    ("gnt-backup", "import"): NEW_INSTANCE
    + "--identify-defaults --src-dir= --src-node= --compress=",
    ("gnt-backup", "export"): """-f/--force -n/--node= --transport-compression= --noshutdown
        --shutdown-timeout= --remove-instance --ignore-remove-failures --dry-run --priority=
        --zero-free-space --zeroing-timeout-fixed= --zeroing-timeout-per-mib= --long-sleep
        --submit --print-jobid""",
    (
        "gnt-backup",
        "list",
    ): "-n/--node= --no-headers --separator= --units= -o/--output= -v/--verbose",
    ("gnt-backup", "remove"): "--dry-run --priority= --submit --print-jobid",
}
"""Options that Ganeti's commands have, each with ``=`` where it takes a value."""
VALUES = {
    "--priority": "low",
    "--units": "m",
    "--shutdown-timeout": "1",
    "--helper-startup-timeout": "1",
    "--helper-shutdown-timeout": "1",
}


@pytest.mark.parametrize(("name", "command"), GANETI)
def test_what_ganeti_s_command_takes_is_taken_and_shown(name: str, command: str) -> None:
    parser = parser_of(name, command)
    shown = {
        option: action.help
        for action in parser._actions
        if action.help is not argparse.SUPPRESS
        for option in action.option_strings
    }
    for word in GANETI[name, command].split():
        for option in word.rstrip("=").split("/"):
            assert shown.get(option), option
            value = [VALUES.get(word.split("/")[-1].rstrip("="), "x")] if "=" in word else []
            needed = ["-n", "node1"] if command == "export" else []
            parser.parse([*needed, option, *value, *([] if command == "list" else ["web1"])])


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_what_has_no_effect_says_why_in_its_help(name: str, command: str) -> None:
    parser = parser_of(name, command)
    without = [one for one in parser._actions if one.dest == ganeti_options.DESTINATION]
    shown = " ".join(parser.format_help().split())
    assert (ganeti_options.TITLE in shown) == bool(without)
    for action in without:
        assert action.option_strings[-1] in shown
        assert str(action.help) in shown


def test_scripts_that_pass_them_go_on_working() -> None:
    """They mean the same as without them."""
    module = importlib.import_module("gantry.cli.backup.import_")
    plain = ["-n", "node1", "--src-node", "node2", "web1.example.com"]
    more = ["--no-wait-for-sync", "--opportunistic-locking", "--ignore-ipolicy",
            "--helper-startup-timeout=300", "--helper-shutdown-timeout", "7200"]  # fmt: skip
    parser = parser_of("gnt-backup", "import")
    assert module.operation(parser.parse([*more, *plain])) == module.operation(parser.parse(plain))
