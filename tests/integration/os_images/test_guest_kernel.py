"""The script that fetches the guests' kernel: its cache, and what it says when it cannot."""

import concurrent.futures
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.integration.os_images.definition import NOBODY
from tests.support.guest_kernel import GuestKernel

_SCRIPT = Path(__file__).resolve().parents[3] / "packaging" / "guest-kernel"


def _run(
    target: str | Path,
    path: str | None = None,
    command: tuple[str | Path, ...] = (_SCRIPT,),
    modules: tuple[str, ...] = (),
    temporary: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, target, *modules],
        env={
            "PATH": path or os.environ["PATH"],
            **({"TMPDIR": str(temporary)} if temporary else {}),
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def _with_program(directory: Path, name: str, text: str) -> str:
    """A search path on which one program is another one."""
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


@pytest.mark.qemu
def test_a_complete_directory_is_left_alone(guest_kernel: GuestKernel) -> None:
    directory = guest_kernel.kernel.parent
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    done = _run(directory, path="/nowhere:/bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    assert guest_kernel.version[0].isdigit()


@pytest.mark.qemu
def test_calls_at_the_same_time_download_once_and_need_no_rights(place: Path) -> None:
    # The work tree may be closed to others.
    shutil.copy(_SCRIPT, place)
    command: tuple[str | Path, ...] = (place / _SCRIPT.name,)
    if os.geteuid() == 0:
        command = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command)
    target = place / "kernel"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        outcomes = list(
            pool.map(lambda _: _run(target, command=command, temporary=place), range(3))
        )
    assert [done.returncode for done in outcomes] == [0, 0, 0], outcomes
    assert sum("downloading" in done.stdout for done in outcomes) == 1
    visible = sorted(path.name for path in target.iterdir() if not path.name.startswith("."))
    assert visible == ["initrd.img", "version", "vmlinuz"]
    assert list(target.glob(".new.*")) == []


def test_a_directory_that_was_left_half_made_is_made_anew(tmp_path: Path) -> None:
    target = tmp_path / "kernel"
    (target / ".new.abc").mkdir(parents=True)
    (target / "vmlinuz").write_text("half")
    (target / "version").write_text("6.1\n")
    path = _with_program(tmp_path / "bin", "apt-get", "echo 'E: no route to host' >&2; exit 100")
    path = _with_program(tmp_path / "bin", "apt-cache", "echo '  Depends: linux-image-9.9-test'")
    done = _run(target, path=path)
    assert done.returncode == 1
    assert "guest-kernel: downloading linux-image-9.9-test" in done.stdout
    assert "apt-get: E: no route to host" in done.stderr
    assert "cannot download linux-image-9.9-test: is the network up?" in done.stderr
    assert list(target.glob(".new.*")) == []


def test_a_directory_with_other_modules_is_made_anew(tmp_path: Path) -> None:
    for name, text in {
        "vmlinuz": "k",
        "initrd.img": "i",
        "version": "6.1\n",
        ".recipe": "1\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert _run(tmp_path, path="/nowhere:/bin").returncode == 0
    path = _with_program(tmp_path / "bin", "apt-cache", "exit 1")
    done = _run(tmp_path, path=path, command=(_SCRIPT,), modules=("dm_mod", "loop"))
    assert "apt knows no package" in done.stderr
    (tmp_path / ".recipe").write_text("1 dm_mod loop\n")
    done = _run(tmp_path, path="/nowhere:/bin", modules=("dm_mod", "loop"))
    assert (done.returncode, done.stderr) == (0, "")
    done = _run(tmp_path, modules=("../loop",))
    assert (done.returncode, done.stderr) == (1, "guest-kernel: '../loop' is no name of a module\n")


def test_says_to_update_apt_where_it_has_no_lists(tmp_path: Path) -> None:
    path = _with_program(tmp_path / "bin", "apt-cache", "echo 'E: No packages found' >&2; exit 100")
    done = _run(tmp_path / "kernel", path=path)
    assert done.returncode == 1
    assert "run 'apt-get update' as root" in done.stderr


def test_says_which_program_is_missing(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "mkdir", "id", "env"):
        (programs / name).symlink_to(f"/bin/{name}")
    done = _run(tmp_path / "kernel", path=str(programs))
    assert done.returncode == 1
    assert "cannot find apt-cache apt-get" in done.stderr


def test_says_when_the_directory_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _run(tmp_path / "file" / "kernel")
    assert done.returncode == 1
    assert f"cannot make the directory {tmp_path}/file/kernel" in done.stderr


def test_asks_for_a_directory() -> None:
    done = _run("")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: guest-kernel DIR")
