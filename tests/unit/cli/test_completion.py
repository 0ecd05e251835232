"""The completion script, run by bash itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gantry.cli import completion

STUBS = """
gnt-instance() { echo "web1.example.com web2.example.com db1.example.com"; }
gnt-node() { echo "node1.example.com node2.example.com"; }
gnt-os() { echo "noop busybox+tiny"; }
gnt-job() { echo "7 8 19"; }
"""
ASK = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gantry; printf "%s\\n" "${COMPREPLY[@]}"'


@pytest.fixture(scope="module")
def script() -> str:
    return completion.script({"gantry": ["local", "token"]})


def completed(script: str, *words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{STUBS}\n{script}\n{ASK}", "bash", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["gnt-instance", "sta"], ["startup", "start"]),
        (["/srv/bin/gnt-instance", "rem"], ["remove-mirror", "remove", "remove-tags"]),
        (["gnt-instance", "start", "web"], ["web1.example.com", "web2.example.com"]),
        (["gnt-instance", "start", "-f", "d"], ["db1.example.com"]),
        (["gnt-instance", "stop", "--no-r"], ["--no-remember"]),
        (["gnt-instance", "add", "-n", "node2"], ["node2.example.com"]),
        (["gnt-instance", "add", "--os-type", "=", "bu"], ["busybox+tiny"]),
        (["gnt-instance", "reboot", "-t", ""], ["soft", "hard", "full"]),
        (["gnt-instance", "start", "--priority", "="], ["low", "normal", "high"]),
        (["gnt-instance", "start", "--priority", "=", "h"], ["high"]),
        (["gnt-job", "watch", "1"], ["19"]),
        (["gnt-node", "info", "node1"], ["node1.example.com"]),
        (["gnt-cluster", "ver"], ["verify", "verify-disks", "version"]),
        (["gnt-cluster", "info", ""], []),
        (["gnt-instance", "nonsense", "x"], []),
        (["gantry", "lo"], ["local"]),
        (["gnt-os", "status", "bu"], ["busybox+tiny"]),
        (["gnt-os", "push", "/proc/self/cmdl"], ["/proc/self/cmdline"]),
        (["gnt-os", "test", "--script", "re"], ["rename", "reinstall"]),
        (["gnt-hook", "push", "/proc/self/cmdl"], ["/proc/self/cmdline"]),
    ],
)
def test_what_is_offered(script: str, words: list[str], wanted: list[str]) -> None:
    assert completed(script, *words) == wanted


def test_hidden_options_are_not_offered(script: str) -> None:
    assert "--ignore-ipolicy" not in completed(script, "gnt-instance", "add", "--")


def test_what_stands_in_a_name_is_never_run(script: str, tmp_path: Path) -> None:
    file = tmp_path / "made"
    stub = f"gnt-instance() {{ echo 'web$(touch${{IFS}}{file}) *'; }}"
    assert completed(script + "\n" + stub, "gnt-instance", "start", "") != []
    assert not file.exists()
