"""Guests are made of an image and of an untrusted script, also where daemons die meanwhile."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, alive, eventually, local_cluster
from tests.support.install_image import made_install_image

pytestmark = pytest.mark.qemu
WEB = "web1.gantry.test"
BOOT = 120.0
SCRIPT = """#!/bin/sh
set -e
echo "begun on $DISK_COUNT disks"
# Goes on once the node says so on the second disk.
until [ "$(dd if="$DISK_1_PATH" bs=4 count=1 2> /dev/null)" = goon ]; do
  sleep 1
  echo 1 > /proc/sys/vm/drop_caches
done
mount -t ext4 "$DISK_0_PATH" /mnt
echo "$INSTANCE_NAME" > /mnt/etc/hostname
umount /mnt
"""


class Place:
    """A node with the real hypervisor, the OS ``apart``, and an image of a guest."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.images = directory
        self.image = directory / "seed.qcow2"
        self.ran = directory / "ran"

    def prepare(self) -> None:
        self.cluster.gnt("gnt-cluster", "modify", f"--install-image={made_install_image()}")
        self.cluster.os_definition("apart", f'echo "on the node" >> "{self.ran}"\n', (1,))
        place = self.cluster.root() / "srv/ganeti/os/apart"
        (place / "create_untrusted").write_text(SCRIPT)
        (place / "create_untrusted").chmod(0o755)
        self.cluster.gnt("gnt-os", "diagnose")
        kernel = self.cluster.directory / "guest-kernel"
        boots = f"kernel_path={kernel}/vmlinuz,initrd_path={kernel}/initrd.img,root_path=/dev/vda"
        self.cluster.gnt("gnt-os", "modify", "-H", f"kvm:{boots}", "apart")
        for phase in ("pre", "post", "fail"):
            self.cluster.hook(f"instance-add-{phase}.d", "10", f'echo {phase} >> "{self.ran}"\n')
        self._make_image()

    def _make_image(self) -> None:
        seed = "seed.gantry.test"
        self.cluster.gnt(
            "gnt-instance", "add", "-t", "file", "-s", "32M", "-o", "busybox", "--no-start",
            "--no-nics", seed,
        )  # fmt: skip
        [disk] = (self.cluster.root() / "srv/ganeti/file-storage" / seed).iterdir()
        argv = ["qemu-img", "convert", "-O", "qcow2", str(disk), str(self.image)]
        subprocess.run(argv, check=True, timeout=60)
        self.cluster.gnt("gnt-instance", "remove", "-f", seed)
        self.ran.unlink()

    def begin(self, image: str) -> str:
        """The job of an installation whose script has begun."""
        before = self._begun()
        job = self.cluster.gnt(
            "gnt-instance", "add", "-t", "file", "--disk", "0:size=64M", "--disk", "1:size=1M",
            "-o", "apart", "--no-nics", "-B", "memory=128M", "-O", f"os-image={image}",
            "--submit", WEB,
        ).strip()  # fmt: skip
        eventually("the script has begun", lambda: self._begun() > before, BOOT)
        return job

    def _begun(self) -> int:
        """How many installations have said that their script has."""
        logs = self.cluster.root().glob(f"var/log/ganeti/os/add-apart-{WEB}-*")
        return sum("begun on 2 disks" in log.read_text(errors="replace") for log in logs)

    def go_on(self) -> None:
        """The script does."""
        [disk] = self.cluster.root().glob(f"srv/ganeti/file-storage/{WEB}/*disk1*")
        with disk.open("r+b") as file:
            file.write(b"goon")

    def guest(self) -> int:
        """The process of the one guest that is there."""
        [found] = self.guests()
        return found

    def guests(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                argv = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            qemu = b"qemu-" in argv.split(b"\0")[0]
            if qemu and str(self.cluster.directory).encode() in argv:
                found.append(int(entry.name))
        return found

    def hooks(self) -> list[str]:
        """What ran since the last call."""
        said = self.ran.read_text().split("\n")[:-1]
        self.ran.unlink()
        return said

    def job(self, number: str) -> str:
        """How it ended, and what is known of it."""
        (row,) = self.cluster.rows("gnt-job", "list", "-o", "status", number)
        return f"{row['status']}: {self.cluster.gnt('gnt-job', 'info', number)}"

    def left(self) -> list[str]:
        """Files that an installation may make, and that are there."""
        root, below = self.cluster.root(), "var/lib/gantry"
        # An image that was fetched whole is kept under a name without a dot.
        patterns = ("srv/ganeti/file-storage/*", f"{below}/installing/*", f"{below}/images/*.*")
        return [str(path) for pattern in patterns for path in root.glob(pattern)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with local_cluster("--nodes", "1", "--hypervisors", "kvm") as cluster:
        made = Place(cluster, tmp_path_factory.mktemp("images"))
        made.prepare()
        yield made
        cluster.remove_all()


@pytest.fixture
def url(place: Place) -> Iterator[str]:
    """Of the image."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=place.images)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/{place.image.name}"
        server.shutdown()


@pytest.mark.parametrize("die", [("agent",), ("master", "agent")])
def test_where_its_agent_dies_nothing_stays(place: Place, die: tuple[str, ...]) -> None:
    job = place.begin(str(place.image))
    guest = place.guest()
    for role in die:
        place.cluster.kill(role)
    place.cluster.local("up")
    assert place.cluster.try_gnt("gnt-job", "wait", job).status == 1
    said = place.job(job)
    assert said.startswith("error"), said
    assert not alive(guest)
    assert place.guests() == []
    assert place.cluster.instances() == []
    # What could not be undone while the agent was away is owed to it, and done when it is back.
    eventually("nothing is left", lambda: not place.left(), BOOT)
    assert place.hooks() == ["pre", "fail"]


def test_the_next_master_goes_on_with_it_and_the_guest_boots(place: Place, url: str) -> None:
    job = place.begin(url)
    installing = place.guest()
    place.cluster.kill("master")
    place.cluster.local("up")
    assert alive(installing)
    place.go_on()
    place.cluster.try_gnt("gnt-job", "wait", job)
    said = place.job(job)
    assert said.startswith("success"), said
    assert place.hooks() == ["pre", "post"]
    console = place.cluster.root() / f"var/log/gantry/console/{WEB}.log"
    eventually(
        "it boots, and is called what the script has named it",
        lambda: f"{WEB} is up" in console.read_text(errors="replace"),
        BOOT,
    )
    assert place.cluster.instance(WEB, "status")["status"] == "running"
    assert not alive(installing)
    place.cluster.gnt("gnt-instance", "remove", "-f", "--shutdown-timeout=0", WEB)
    assert place.left() == []
