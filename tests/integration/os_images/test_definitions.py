"""Our definitions are complete as the OS interface asks, and noop does nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.integration.os_images.definition import DEFINITIONS, Definition, instance

_SCRIPTS = ("create", "import", "export", "rename", "verify")


@pytest.fixture(params=["noop", "busybox", "cloud_image", "debian", "iso"])
def definition(request: pytest.FixtureRequest) -> Definition:
    found: Definition = request.getfixturevalue(request.param)
    return found


def test_has_the_files_of_api_20(definition: Definition) -> None:
    for name in _SCRIPTS:
        path = definition.directory / name
        assert path.is_file(), name
        assert path.stat().st_mode & 0o111 == 0o111, name
    assert (definition.directory / "ganeti_api_version").read_text() == "20\n15\n10\n"
    variants = (definition.directory / "variants.list").read_text()
    assert variants == ("bookworm\ntrixie\n" if definition.directory.name == "debian" else "")


def test_every_parameter_is_described_once(definition: Definition) -> None:
    lines = (definition.directory / "parameters.list").read_text().splitlines()
    names = [line.split(None, 1)[0] for line in lines]
    assert all(len(line.split(None, 1)) == 2 for line in lines)
    assert len(set(names)) == len(names)


def test_scripts_are_well_formed(definition: Definition) -> None:
    scripts = [definition.directory / name for name in _SCRIPTS]
    scripts += (definition.directory / "guest").rglob("init.d/*")
    for path in scripts:
        shell = path.read_text().partition("\n")[0].removeprefix("#!")
        if "python3" in shell:
            continue
        argv = [shell if shell.startswith("/") else "/bin/sh", "-n", str(path)]
        assert subprocess.run(argv, check=False).returncode == 0, path


@pytest.mark.parametrize("script", ["create", "rename"])
def test_noop_says_that_it_does_nothing(noop: Definition, disk: Path, script: str) -> None:
    done = noop.run(script, instance(disk), unprivileged=True)
    assert done.status == 0
    assert done.stdout == f"noop: {script} of web1.gantry.test: nothing to do\n".encode()
    assert disk.stat().st_blocks == 0


def test_noop_verifies_anything(noop: Definition) -> None:
    done = noop.run("verify", {}, "parameters")
    assert (done.status, done.stdout) == (0, b"noop: verify parameters: nothing to check\n")


def test_noop_exports_an_empty_dump_and_says_its_size(noop: Definition, disk: Path) -> None:
    reader, writer = os.pipe()
    environment = instance(disk, EXPORT_DEVICE=str(disk), EXP_SIZE_FD=str(writer))
    done = noop.run("export", environment, pass_fds=(writer,))
    os.close(writer)
    with os.fdopen(reader) as size:
        assert size.read() == "0\n"
    assert (done.status, done.stdout) == (0, b"")
    assert "the dump is empty" in done.stderr


def test_noop_reads_a_dump_to_its_end(noop: Definition, disk: Path) -> None:
    # More than a pipe holds: a reader that ends early would break the sender.
    environment = instance(disk, IMPORT_DEVICE=str(disk))
    done = noop.run("import", environment, stdin=b"x" * (1 << 20))
    assert done.status == 0
    assert disk.stat().st_blocks == 0


def test_the_definitions_are_laid_out_for_copying(definition: Definition, place: Path) -> None:
    """A node gets them by a plain copy: nothing in them may point outside."""
    copy = place / "copy"
    shutil.copytree(definition.directory, copy, symlinks=True)
    assert not [path for path in copy.rglob("*") if path.is_symlink()]


def test_what_definitions_share_is_the_same_in_all() -> None:
    """Each stands alone, so each has its own copy; to change one, change it in os/cloud-image."""
    ours = DEFINITIONS / "cloud-image/guest"
    dumps = ("busybox/parts/sparse_dump.py", "iso/parts/sparse_dump.py")
    copies = [(DEFINITIONS / copy, ours / "sparse_dump.py") for copy in dumps]
    for copy in (DEFINITIONS / "debian/guest").glob("*.py"):
        copies.append((copy, ours / copy.name))
    for copy, original in copies:
        assert copy.read_bytes() == original.read_bytes(), f"cp {original} {copy}"
