"""The program ``gantry`` before any sub-command is loaded."""

import subprocess
import sys

import pytest

from gantry.main import gantry
from gantry.model.errors import OperationFailed


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert gantry.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in gantry.COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert gantry.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gantry 0.")


@pytest.mark.parametrize("arguments", [[], ["dance"], ["--root", "/x"]])
def test_an_unknown_command_is_wrong_use(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gantry.main(arguments) == 2
    said = capsys.readouterr()
    assert "usage: gantry COMMAND" in said.err
    assert said.out == ""
    assert not arguments or repr(arguments[0]) in said.err


def test_an_error_is_told_with_its_node_and_what_to_do() -> None:
    error = OperationFailed("the disk is full", "make room", node="node1")
    assert gantry.told(error) == "gantry: the disk is full (node node1)\n  make room\n"


def test_a_directory_without_a_cluster_is_told_without_a_traceback(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gantry.main(["local", "env", "--dir", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "there is no local cluster in" in said.err
    assert "Traceback" not in said.err


def test_only_what_a_command_needs_is_loaded() -> None:
    code = (
        "import sys; from gantry.main.gantry import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'apsw', 'asyncio')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, timeout=100)
    assert done.returncode == 0
