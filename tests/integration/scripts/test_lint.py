"""What ``gnt-hook lint`` says of real directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gantry.hooks.lint import check, drift
from gantry.host import inventory
from gantry.model.findings import Finding, Level
from gantry.model.hook_files import HookInventory

ADD = "instance-add-pre.d"
SHELL = "#!/bin/sh\nexit 0\n"


def write(base: Path, path: str, text: str | bytes = SHELL, mode: int = 0o755) -> Path:
    found = base / path
    found.parent.mkdir(parents=True, exist_ok=True)
    found.parent.chmod(0o755)
    base.chmod(0o755)
    found.write_bytes(text if isinstance(text, bytes) else text.encode())
    found.chmod(mode)
    return found


def looked(base: Path, version: int = 1) -> tuple[Finding, ...]:
    return check(inventory.read(base, version), version)


def said(base: Path, version: int = 1) -> list[str]:
    """Each finding as ``level path: message``."""
    return [f"{one.level} {one.path}: {one.message}" for one in looked(base, version)]


def test_a_directory_in_order_gives_no_reason_to_say_anything(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-check")
    write(tmp_path, f"{ADD}/README", "what is here\n", 0o644)
    write(tmp_path, f"{ADD}/10-check~", "what is here\n", 0o644)
    write(tmp_path, f"{ADD}/.hidden.sh")
    write(tmp_path, "watcher/10-look", "#!/usr/bin/env sh\n")
    write(tmp_path, "config-update-post.d/10-x", Path("/bin/true").read_bytes())
    assert said(tmp_path) == []


def test_what_scripts_read_may_be_beside_them(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-check")
    write(tmp_path, "site/inventory.conf", "[site]\n", 0o644)
    write(tmp_path, "lib/words.sh", "hello() { :; }\n", 0o644)
    write(tmp_path, "site/ask-the-cmdb")
    write(tmp_path, "site/notify.py", "import sys\n")
    assert said(tmp_path) == []
    write(tmp_path, "site/loose", mode=0o646)
    assert said(tmp_path) == ["error site/loose: everybody may write to it, and so become its user"]


def test_an_empty_or_missing_directory_is_in_order(tmp_path: Path) -> None:
    assert said(tmp_path / "nothing") == []


def test_no_command_is_given_for_a_name_that_cannot_be_typed(tmp_path: Path) -> None:
    directory = write(tmp_path, f"{ADD}/10-check").parent
    (directory / "10-check").rename(os.fsdecode(os.fsencode(directory) + b"/20-\xff"))
    [one] = looked(tmp_path)
    assert (one.path, one.hint) == (f"{ADD}/20-\\udcff", "")


@pytest.mark.parametrize(
    ("name", "text", "mode", "wanted"),
    [
        ("check.sh", SHELL, 0o755, "error {}: it never runs: a name is made of letters"),
        ("check.sh", SHELL, 0o644, "error {}: it never runs: a name is made of letters"),
        ("10-a", SHELL, 0o644, "warning {}: it does not run: it is not executable"),
        ("10-a", "echo hello\n", 0o755, "error {}: it cannot be run: it has no interpreter"),
        ("10-a", "", 0o755, "error {}: it cannot be run: it has no interpreter"),
        ("10-a", "#!/no/such/sh\n", 0o755, "error {}: it cannot be run: /no/such/sh is not there"),
        ("10-a", "#!/usr/bin/env nosuch\n", 0o755, "error {}: it cannot be run: nosuch is not"),
        ("10-a", "#!/bin/sh\r\nexit 0\r\n", 0o755, "error {}: it cannot be run: /bin/sh is not"),
        ("10-a", SHELL, 0o757, "error {}: everybody may write to it"),
        ("10-a", SHELL, 0o775, "warning {}: its group may write to it"),
        (
            "10-a",
            '#!/bin/sh\n[ "$GANETI_HOOKS_PHASE" = pre ]\n',
            0o755,
            "warning {}: it looks written for version 2 of the interface, and runs in version 1",
        ),
    ],
)
def test_a_script_that_does_not_do_what_it_looks_like(
    tmp_path: Path, name: str, text: str, mode: int, wanted: str
) -> None:
    write(tmp_path, f"{ADD}/{name}", text, mode)
    [one] = said(tmp_path)
    assert one.startswith(wanted.format(f"{ADD}/{name}"))


def test_the_name_that_would_do_is_offered(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10 check.sh")
    [one] = looked(tmp_path)
    assert one.hint == "mv '10 check.sh' 10-check-sh"


def test_a_name_that_a_terminal_would_obey_is_not_offered_to_be_copied(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10\x1b[2J; rm x")
    [one] = looked(tmp_path)
    assert (one.level, one.hint) == (Level.ERROR, "")


@pytest.mark.parametrize(
    ("directory", "version", "level", "message", "hint"),
    [
        ("instance-ad-pre.d", 1, Level.ERROR, "no operation reads this", "instance-add-pre.d?"),
        ("instance-add-pre", 1, Level.ERROR, "no operation reads this", "instance-add-pre.d?"),
        ("instance-mirror-replace-post.d", 1, Level.ERROR, "no operation", "mirror-replace-post.d"),
        ("instance-add", 1, Level.ERROR, "no operation reads this", "did you mean instance-add"),
        ("cluster-init-pre.d", 2, Level.ERROR, "read in version 1 of the interface only", ""),
        ("cluster-destroy-pre.d", 1, Level.ERROR, "no operation reads this", "did you mean"),
    ],
)
def test_a_directory_that_nobody_reads(
    tmp_path: Path, directory: str, version: int, level: Level, message: str, hint: str
) -> None:
    write(tmp_path, f"{directory}/10-a")
    [one] = looked(tmp_path, version)
    assert (one.level, one.path) == (level, directory)
    assert message in one.message
    assert hint in one.hint


@pytest.mark.parametrize("version", [1, 2])
def test_directories_of_both_versions_are_read_in_both(tmp_path: Path, version: int) -> None:
    write(tmp_path, "instance-shutdown-pre.d/10-a", '#!/bin/sh\n[ "$GANETI_HOOKS_VERSION" = 1 ]\n')
    write(tmp_path, "instance-stop-pre.d/10-a", '#!/bin/sh\n[ "$GANETI_HOOKS_VERSION" = 2 ]\n')
    assert said(tmp_path, version) == []


def test_links_and_directories_among_scripts(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-a")
    (tmp_path / ADD / "20-b").symlink_to("nowhere")
    (tmp_path / ADD / "30-c").symlink_to("30-c")
    (tmp_path / ADD / "40-d").symlink_to("10-a")
    (tmp_path / ADD / "lib").mkdir()
    assert said(tmp_path) == [
        f"error {ADD}/20-b: it is a link to nothing, or cannot be reached",
        f"error {ADD}/30-c: it is a link to nothing, or cannot be reached",
        f"warning {ADD}/lib: it is no file, but a directory",
    ]


def test_a_directory_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / ADD).symlink_to(tmp_path / "mnt")
    tmp_path.chmod(0o755)
    assert said(tmp_path) == [f"error {ADD}: it cannot be read: No such file or directory"]


def test_a_directory_that_everybody_may_write_to(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-a")
    (tmp_path / ADD).chmod(0o777)
    assert said(tmp_path) == [f"error {ADD}: everybody may write to it, and so become its user"]


@pytest.mark.root
def test_a_script_of_another_user(tmp_path: Path) -> None:
    os.chown(write(tmp_path, f"{ADD}/10-a"), 1234, 0)
    [one] = said(tmp_path)
    assert one == f"error {ADD}/10-a: user 1234 owns it, who may change it at any time"


def test_a_wrong_policy_is_an_error_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-a")
    write(tmp_path, "hooks.toml", "[default]\ntimout = 5\n", 0o644)
    found = looked(tmp_path)
    assert (found[0].level, found[0].path) == (Level.ERROR, "hooks.toml")
    assert found[0].message.startswith("line 2: there is no key 'timout'")


def test_a_policy_that_switches_off_is_seen(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-a")
    write(tmp_path, "hooks.toml", f'[script."{ADD}/10-a"]\nenabled = false\n', 0o644)
    assert said(tmp_path) == [
        f"warning {ADD}/10-a: it does not run: it is switched off in hooks.toml"
    ]


def test_a_policy_for_some_objects_gives_no_reason_to_complain(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-a")
    text = f'[script."{ADD}/10-a"]\nonly = {{ tags = ["web"], operations = ["instance-add"] }}\n'
    write(tmp_path, "hooks.toml", text, 0o644)
    assert said(tmp_path) == []


def test_a_policy_decides_the_version(tmp_path: Path) -> None:
    write(tmp_path, f"{ADD}/10-a", '#!/bin/sh\n[ "$GANETI_HOOKS_VERSION" = 2 ]\n')
    write(tmp_path, "hooks.toml", f'[directory."{ADD}"]\nversion = 2\n', 0o644)
    assert said(tmp_path) == []


def nodes(tmp_path: Path) -> dict[str, HookInventory]:
    return {
        path.name: inventory.read(path, 1) for path in sorted(tmp_path.iterdir()) if path.is_dir()
    }


def test_scripts_that_differ_between_nodes_or_are_missing_somewhere(tmp_path: Path) -> None:
    for name in ("node1", "node2", "node3"):
        write(tmp_path / name, f"{ADD}/10-same")
        write(tmp_path / name, f"{ADD}/20-other", f"#!/bin/sh\n# {name == 'node2'}\n")
        write(tmp_path / name, "cluster-modify-pre.d/10-x", f"#!/bin/sh\n# {name}\n")
    write(tmp_path / "node1", f"{ADD}/30-alone")
    write(tmp_path / "node1", f"{ADD}/README", "only here\n", 0o644)
    found = [f"{one.level} {one.path}: {one.message}" for one in drift(nodes(tmp_path), 1)]
    assert found == [
        f"warning {ADD}/20-other: on node2 it has another content than elsewhere",
        f"warning {ADD}/30-alone: it is missing on node2, node3",
    ]


def test_a_policy_that_only_one_node_has(tmp_path: Path) -> None:
    for name in ("node1", "node2"):
        write(tmp_path / name, f"{ADD}/10-same")
    write(tmp_path / "node2", "hooks.toml", "[default]\ntimeout = 5\n", 0o644)
    [one] = drift(nodes(tmp_path), 1)
    assert (one.path, one.message) == ("hooks.toml", "it is missing on node1")


def test_one_node_has_nobody_to_differ_from(tmp_path: Path) -> None:
    write(tmp_path / "node1", f"{ADD}/10-same")
    assert drift(nodes(tmp_path), 1) == ()
