"""Definitions that people have: Debian's ganeti-os-noop, and ours in ``os/``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gantry.model.names import Uuid
from gantry.model.orders import OsRun, OsVerify
from gantry.osdefs.create import create
from gantry.osdefs.logged import Care
from gantry.osdefs.search import Finder
from gantry.osdefs.verify import verify

OURS = Path(__file__).parents[3] / "os"


def run_of(name: str) -> OsRun:
    return OsRun(
        os=name,
        uuid=Uuid("3561a026-8e1d-4c30-b8b5-39470f8b8b75"),
        name="web1.example.com",
        hypervisor="fake",
        ctime=1.5,
        mtime=2.5,
        primary_node=(Uuid("uuid-1"), "node1.example.com"),
    )


def debian(directory: Path) -> Path:
    """Debian's package ganeti-os-noop, unpacked; skips where it cannot be downloaded."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("no apt-get or dpkg-deb here: the package ganeti-os-noop cannot be had")
    # apt drops its rights to a user who may not write into a private directory.
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "ganeti-os-noop"]
    got = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    packages = list(directory.glob("ganeti-os-noop*.deb"))
    if got.returncode != 0 or not packages:
        pytest.skip(f"the package ganeti-os-noop cannot be downloaded: {got.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(directory / "root")], check=True)
    return directory / "root"


async def install(finder: Finder, name: str, root: Path) -> list[str]:
    lines: list[str] = []
    await verify(finder, OsVerify(os=name))
    care = Care(log_directory=root / "log", progress=lines.append, timeout=60.0)
    await create(finder, run_of(name), [], care)
    return lines


async def test_debian_s_ganeti_os_noop_works_unchanged(tmp_path: Path) -> None:
    root = debian(tmp_path)
    found = [Path(path) for path, names, _ in os.walk(root) if "noop" in names]
    directory = next(path for path in found if path.name == "os")
    finder = Finder(root, ("/" + str(directory.relative_to(root)),))
    facts = finder.lookup("noop")
    assert facts is not None
    assert facts.problem == ""
    name = f"noop+{facts.variants[0]}" if facts.variants else "noop"
    await install(finder, name, tmp_path)


async def test_our_noop_works(tmp_path: Path) -> None:
    shutil.copytree(OURS / "noop", tmp_path / "os/noop")
    lines = await install(Finder(tmp_path, ("/os",)), "noop", tmp_path)
    assert lines == ["noop: create of web1.example.com: nothing to do"]


@pytest.mark.parametrize("name", ["noop", "busybox", "cloud-image", "debian", "iso"])
def test_our_definitions_are_valid(name: str) -> None:
    facts = Finder(OURS.parent, ("/os",)).lookup(name)
    assert facts is not None
    assert facts.problem == ""
    assert facts.api_versions
