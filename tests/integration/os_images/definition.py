"""Runs an OS definition's scripts the way the OS interface says, and looks into their images."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEFINITIONS = Path(__file__).resolve().parents[3] / "os"
NOBODY = 65534
PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
MAC = "aa:00:00:12:34:56"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a script left: exit status, standard output as bytes, standard error as text."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def said(self) -> str:
        """Both streams, as a log would show them."""
        return self.stdout.decode(errors="replace") + self.stderr


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A directory with scripts."""

    directory: Path

    def run(
        self,
        script: str,
        environment: dict[str, str],
        *arguments: str,
        stdin: bytes = b"",
        pass_fds: tuple[int, ...] = (),
        unprivileged: bool = False,
        timeout: float = 60,
    ) -> Outcome:
        """Runs one script in its own directory, with umask 077 and no other environment.

        An unprivileged one has its temporary files beside the definition: not every machine's
        /tmp is open to everybody.
        """
        argv = [str(self.directory / script), *arguments]
        temporary = {"TMPDIR": str(self.directory.parent)} if unprivileged else {}
        if unprivileged and os.geteuid() == 0:
            argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]
        done = subprocess.run(
            argv,
            env={"PATH": PATH, **temporary, **environment},
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            umask=0o077,
            pass_fds=pass_fds,
            start_new_session=True,
            timeout=timeout,
            check=False,
        )
        return Outcome(status=done.returncode, stdout=done.stdout, stderr=done.stderr.decode())


def instance(disk: Path | None, **more: str) -> dict[str, str]:
    """The interface's variables of an instance with one NIC on QEMU's user network."""
    environment = {
        "OS_API_VERSION": "20",
        "OS_NAME": "busybox",
        "OS_VARIANT": "",
        "DEBUG_LEVEL": "0",
        "INSTANCE_NAME": "web1.gantry.test",
        "INSTANCE_OS": "busybox+default",
        "HYPERVISOR": "kvm",
        "DISK_COUNT": "0",
        "NIC_COUNT": "1",
        "NIC_0_MAC": MAC.upper(),
        "NIC_0_MODE": "user",
    }
    if disk is not None:
        environment |= {"DISK_COUNT": "1", "DISK_0_PATH": str(disk), "DISK_0_ACCESS": "rw"}
    return environment | more


def without(environment: dict[str, str], name: str) -> dict[str, str]:
    """The environment less one variable."""
    return {key: value for key, value in environment.items() if key != name}


def look(disk: Path, command: str) -> str:
    """What debugfs says about the image."""
    return subprocess.run(
        ["debugfs", "-R", command, str(disk)],
        env={"PATH": PATH, "LC_ALL": "C", "DEBUGFS_PAGER": "cat"},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout


def file_system_is_clean(disk: Path) -> bool:
    """Whether a full check finds nothing to repair."""
    argv = ["e2fsck", "-f", "-n", str(disk)]
    done = subprocess.run(argv, env={"PATH": PATH}, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def empty_disk(path: Path, size: int) -> Path:
    """A raw disk of ``size`` bytes without anything on it."""
    with path.open("wb") as file:
        file.truncate(size)
    path.chmod(0o666)
    return path


@contextlib.contextmanager
def loop_device(path: Path) -> Iterator[Path]:
    """A file as a block device, which needs the rights of root; gone at the end."""
    attach = ["losetup", "--find", "--show", str(path)]
    done = subprocess.run(attach, capture_output=True, text=True, timeout=100, check=True)
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", str(device)], timeout=100, check=True)
