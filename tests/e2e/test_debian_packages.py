"""Debian's packages ganeti-os-noop and ganeti-instance-debootstrap, with their scripts unchanged.

The latter reads its configuration in /etc and keeps what it built in /var/cache: the cluster has
its own view of both, so that nothing of this machine is changed.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.support.cluster import (
    COMMAND,
    GANTRY,
    Cluster,
    Done,
    eventually,
    processes_below,
    short_directory,
)
from tests.support.emulated_machine import ran
from tests.support.guest_kernel import GuestKernel
from tests.support.guest_kernel import guest_kernel as guest_kernel

BUILD = 1200.0
BOOT = 400.0
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.root,
    pytest.mark.timeout(BUILD + 2 * BOOT),
]
OS = "debootstrap+default"
NIC = ("--net", "0:mode=user")
TRIAL = """
cp -a /mnt/packages/. /
echo SUITE=bookworm >> /etc/default/ganeti-instance-debootstrap
mount --bind /mnt/cache /var/cache/ganeti-instance-debootstrap
{gnt_os} test --json --keep /usr/share/ganeti/os/debootstrap > /mnt/trial.json ||
  cat /mnt/trial.json
"""
SPARED = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/lib/udev/hwdb*",
          "var/cache/*", "var/lib/apt/lists/*")  # fmt: skip
"""What a guest does without: an emulated machine takes long to copy it."""
_VIEW = """
set -eu
over() { mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$1"; }
over /etc "$1/etc" "$1/work-etc"
over /var/cache "$1/cache" "$1/work-cache"
shift
exec "$@"
"""


class ConfinedCluster(Cluster):
    """A cluster whose processes see another /etc and /var/cache, by the directory ``view``."""

    view: Path

    def local(self, *arguments: str, check: bool = True, timeout: float = COMMAND) -> Done:
        command, *rest = arguments
        confine = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _VIEW, "sh"]
        done = subprocess.run(
            [*confine, self.view, *GANTRY, "local", command, "--dir", self.directory, *rest],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, unpacked."""
    place = tmp_path_factory.mktemp("packages")
    names = ["ganeti-os-noop", "ganeti-instance-debootstrap"]
    # apt drops its rights to a user who may not write into a private directory.
    subprocess.run(
        ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *names],
        cwd=place,
        check=True,
        timeout=120,
    )
    for package in place.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, place / "root"], check=True)
    return place / "root"


@pytest.fixture(scope="module")
def view(packages: Path) -> Iterator[Path]:
    """The configuration as an administrator makes it; what was built stays between test runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    view = Path(base) / "gantry/test-debootstrap"
    view.mkdir(parents=True, exist_ok=True)
    with (view / "lock").open("w") as lock:
        # One overlay at a time: another run of these tests may be under way.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _configure(view, packages)
        yield view


def _configure(view: Path, packages: Path) -> None:
    for name in ("cache", "work-cache", "work-etc"):
        (view / name).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(view / "etc", ignore_errors=True)
    shutil.copytree(packages / "etc", view / "etc")
    for path in [view / "etc", *(view / "etc").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with (view / "etc/default/ganeti-instance-debootstrap").open("a") as file:
        file.write(f"SUITE=bookworm\nPARTITION_STYLE=none\nMIRROR={_mirror()}\n")


def _mirror() -> str:
    """The machine's own."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for place in places:
        if place.is_file():
            found = re.search(r"https?://\S+/debian/?(?=\s)", place.read_text())
            if found:
                return found[0]
    return "http://deb.debian.org/debian"


@contextmanager
def _cluster(view: Path) -> Iterator[ConfinedCluster]:
    with short_directory() as directory:
        cluster = ConfinedCluster(directory)
        cluster.view = view
        try:
            cluster.local("up", "--nodes", "1", "--hypervisors", "kvm", "--no-kernel")
            yield cluster
        finally:
            cluster.remove_all()
            done = cluster.local("down", check=False)
            left = processes_below(directory)
        assert done.status == 0, done.said
        assert not left, left


@pytest.fixture(scope="module")
def site(view: Path, packages: Path, guest_kernel: GuestKernel) -> Iterator[ConfinedCluster]:
    """One node with both definitions, and a kernel for guests whose disk has no boot loader."""
    with _cluster(view) as cluster:
        place = cluster.root() / "srv/ganeti/os"
        ours = packages / "usr/share/ganeti/os"
        shutil.copytree(ours / "debootstrap", place / "debootstrap", symlinks=True)
        shutil.copytree(ours / "noop", place / "debian-noop", symlinks=True)
        cluster.gnt("gnt-os", "diagnose")
        eventually("the definitions are known", lambda: OS in cluster.gnt("gnt-os", "list"))
        kernel = (
            f"kernel_path={guest_kernel.kernel},initrd_path={guest_kernel.initrd},"
            "root_path=/dev/vda,kernel_args=ro quiet cryptomgr.notests no_timer_check "
            # On a busy machine that emulates, the device of the usual one may be there too late.
            "systemd.mask=serial-getty@ttyS0.service systemd.wants=console-getty.service"
        )
        cluster.gnt("gnt-os", "modify", "-H", f"kvm:{kernel}", OS)
        yield cluster


@pytest.fixture
def small(site: ConfinedCluster, view: Path, tmp_path: Path) -> Path:
    """What debootstrap made for the package, as it keeps it, without what nobody needs to boot."""
    [kept] = [*_kept(view)] or [_built(site, view)]
    tree, cache = tmp_path / "tree", tmp_path / "cache"
    tree.mkdir()
    cache.mkdir()
    attributes = ("--acls", "--selinux", "--xattrs", "--xattrs-include=*")
    left_out = [f"--exclude=./{one}" for one in SPARED]
    subprocess.run(["tar", *attributes, *left_out, "-xf", kept, "-C", tree], check=True)
    subprocess.run(["tar", *attributes, "-cf", cache / kept.name, "-C", tree, "."], check=True)
    return cache


def _kept(view: Path) -> Iterator[Path]:
    return (view / "cache/ganeti-instance-debootstrap").glob("cache-bookworm-*.tar")


def _built(cluster: Cluster, view: Path) -> Path:
    _add(cluster, "first.gantry.test")
    [kept] = _kept(view)
    return kept


def _disk(cluster: Cluster, name: str) -> Path:
    (path,) = (cluster.root() / "srv/ganeti/file-storage" / name).glob("*")
    return path


def _hostname(cluster: Cluster, name: str) -> str:
    argv = ["debugfs", "-R", "cat /etc/hostname", str(_disk(cluster, name))]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def _uuid(cluster: Cluster, name: str) -> str:
    """Of the file system."""
    argv = ["blkid", "-p", "-o", "value", "-s", "UUID", str(_disk(cluster, name))]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def _asks(cluster: Cluster, name: str) -> bool:
    (console,) = (cluster.root() / "var/log/gantry/console").glob(f"{name}*.log")
    return f"{name} login:" in console.read_text(errors="replace")


def _boots(cluster: Cluster, *names: str) -> None:
    """They ask who wants to log in, and are stopped."""
    for name in names:
        cluster.gnt("gnt-instance", "start", name)
    for name in names:
        eventually(
            f"guest {name} asks who wants to log in", partial(_asks, cluster, name), timeout=BOOT
        )
    for name in names:
        cluster.gnt("gnt-instance", "stop", "--timeout=0", name)


def _add(cluster: Cluster, name: str, *arguments: str) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "1G", "-o", OS, "-n", "node1",
        "-B", "memory=512M", *NIC, "--no-start", *arguments, name, timeout=BUILD,
    )  # fmt: skip


def test_debootstrap_from_create_to_a_login_prompt_of_the_imported_and_renamed_guest(
    site: ConfinedCluster,
) -> None:
    _add(site, "one.gantry.test")
    assert _hostname(site, "one.gantry.test") == "one.gantry.test"

    site.gnt("gnt-backup", "export", "-n", "node1", "one", timeout=BOOT)
    site.gnt("gnt-instance", "remove", "-f", "one")
    site.gnt(
        "gnt-backup", "import", "-n", "node1", "--src-node", "node1",
        "--src-dir", "one.gantry.test", *NIC, "two.gantry.test", timeout=BOOT,
    )  # fmt: skip
    assert _hostname(site, "two.gantry.test") == "two.gantry.test"
    site.gnt("gnt-instance", "rename", "two", "three.gantry.test", timeout=BOOT)
    assert _hostname(site, "three.gantry.test") == "three.gantry.test"

    # And one that is installed again, over what is there.
    _add(site, "four.gantry.test")
    before = _uuid(site, "four.gantry.test")
    site.gnt("gnt-instance", "reinstall", "-f", "four", timeout=BUILD)
    assert _uuid(site, "four.gantry.test") != before
    assert site.instance("four", "status")["status"] == "ADMIN_down"
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    assert str(site.directory) not in loops
    _boots(site, "three", "four")


def test_the_default_partition_style_where_there_is_a_device_mapper(
    site: ConfinedCluster, packages: Path, small: Path, guest_kernel: GuestKernel, tmp_path: Path
) -> None:
    """In an emulated guest that has one; what was made there boots here."""
    script = TRIAL.format(gnt_os=Path(sys.executable).with_name("gnt-os"))
    with ran(script, {"packages": packages, "cache": small}, BUILD) as left:
        trial = json.loads((left / "trial.json").read_text())
        outcomes = {one["step"]: one["outcome"] for one in trial["attempts"]}
        steps = ["verify", "create", "export", "import", "rename", "reinstall"]
        assert outcomes == dict.fromkeys(steps, "succeeded"), trial
        assert not any(one["left"] or one["stuck"] or one["changed"] for one in trial["attempts"])
        (renamed,) = (a["environment"] for a in trial["attempts"] if a["step"] == "rename")
        disk = tmp_path / "disk"
        source = left / Path(renamed["DISK_0_PATH"]).relative_to("/mnt")
        subprocess.run(["cp", "--sparse=always", source, disk], check=True)
    table = subprocess.run(["sfdisk", "-J", disk], capture_output=True, text=True, check=True)
    found = json.loads(table.stdout)["partitiontable"]
    assert found["label"] == "dos"
    [partition] = found["partitions"]
    assert (partition["start"], partition["type"], partition["bootable"]) == (2048, "83", True)

    name = renamed["INSTANCE_NAME"]
    _add(site, name, "--no-install", "--no-name-check", "-H", "kvm:root_path=/dev/vda1")
    subprocess.run(["cp", "--sparse=always", disk, _disk(site, name)], check=True)
    _boots(site, name.partition(".")[0])


def test_noop_goes_through_all_scripts(site: ConfinedCluster) -> None:
    site.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "16M", "-o", "debian-noop", "-n", "node1",
        "-B", "memory=32M", "--no-nics", "--no-start", "none.gantry.test",
    )  # fmt: skip
    site.gnt("gnt-instance", "reinstall", "-f", "none")
    site.gnt("gnt-instance", "rename", "none", "nil.gantry.test")
    site.gnt("gnt-backup", "export", "-n", "node1", "nil")
    site.gnt("gnt-instance", "remove", "-f", "nil")
    site.gnt(
        "gnt-backup", "import", "-n", "node1", "--src-dir", "nil.gantry.test", "zero.gantry.test"
    )
    assert "zero.gantry.test" in site.instances()
    assert "nil.gantry.test" not in site.instances()
