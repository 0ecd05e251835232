"""The image of installation guests has the programs that are promised, where scripts find them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.integration.os_images.definition import PATH

INSTALL_IMAGE = Path(__file__).resolve().parents[3] / "packaging/install-image"
PROMISED = ("bash", "mke2fs", "mkswap", "sfdisk", "blkid", "tar", "gzip")
AT = 1 << 20
"""Where its file system begins."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guest's kernel unpacks of both of its archives."""
    place = tmp_path_factory.mktemp("install-image")
    image, initrd, tree = place / "new/image", place / "initrd", place / "tree"
    subprocess.run([INSTALL_IMAGE, image], check=True, timeout=600)
    argv = ["debugfs", "-R", f"dump /boot/initrd {initrd}", f"{image}?offset={AT}"]
    subprocess.run(argv, env={"PATH": PATH}, check=True, capture_output=True, timeout=60)
    tree.mkdir()
    with initrd.open("rb") as archives:
        for _ in range(2):
            subprocess.run(
                ["cpio", "-i", "--quiet", "-d", "-u", "--no-absolute-filenames"],
                stdin=archives, cwd=tree, check=True, timeout=60,
            )  # fmt: skip
    return tree


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="changes its root")
def test_a_script_of_its_shell_gets_them_and_not_those_of_busybox(tree: Path) -> None:
    looks = "for name; do readlink -f $(command -v $name); done; mke2fs -V; tar --version"
    done = subprocess.run(
        ["chroot", tree, "/bin/sh", "-c", looks, "sh", *PROMISED],
        env={"PATH": "/sbin:/bin:/usr/sbin:/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert found[: len(PROMISED)] == [f"/bin/{name}" for name in PROMISED]
    assert done.stderr.startswith("mke2fs 1.")
    assert "GNU tar" in found[len(PROMISED)]


def test_what_is_not_promised_is_busybox_s(tree: Path) -> None:
    assert (tree / "bin/wget").readlink() == Path("busybox")
    assert (tree / "bin/sh").readlink() == Path("dash")
