"""A machine that is emulated as a whole, as a node of a cluster, and loses its power with its QEMU.

It has this machine's own files under another kernel, as ``emulated_machine`` has, and its root of
Gantry on a volatile disk. It takes the place of a machine that is a network namespace, with what
that one has until then. Needs root.
"""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from tests.support.emulated_machine import MODULES, file_daemon
from tests.support.fleet import Service
from tests.support.guest_kernel import made_guest_kernel
from tests.support.namespaces import Machine, gantry
from tests.support.volatile_image import VolatileImage, must

MEMORY = 768
"""MiB."""
START = 240.0
"""Seconds from its start until its agent serves, on a busy machine."""
ANSWER = 5.0
"""Seconds for an answer from within."""
_PROJECT = Path(__file__).resolve().parents[2]
_ARGUMENTS = "root=/dev/vda rw quiet cryptomgr.notests no_timer_check panic=10 console=ttyS0,115200"
_INIT = """#!/bin/busybox sh
mount() { /bin/busybox mount "$@"; }
mount -t proc proc /proc
mount -t tmpfs upper /upper
/bin/busybox mkdir /upper/files /upper/work
mount -t virtiofs -o ro machine /lower &&
  mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root ||
  exec /bin/busybox poweroff -f
for one in "proc proc" "sysfs sys" "devtmpfs dev" "tmpfs run"; do
  set -- $one
  mount -t $1 $1 /root/$2
done
/bin/busybox mkdir /root/run/node
mount --bind /node /root/run/node
exec /bin/busybox chroot /root /bin/bash /run/node/begin < /dev/console > /dev/console 2>&1
"""
_BEGIN = Template("""
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mkdir -p /dev/shm /dev/pts $root
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
mount --bind /run/node/root $root
ip link set lo up
ip address add $address/24 dev eth0
ip link set eth0 up
export GANTRY_ROOT=$root
rm -rf $root/run
for one in $devices; do until [ -c $$one ]; do sleep 0.05; done; done
$python -c 'import sys; sys.path.insert(0, "$project"); from $inside import main; main()' \\
  /dev/vport0p2 $consoles &
while :; do
  $gantry agent --ready-fd 3 3> /dev/vport0p1
  sleep 0.3
done
""")
_RUN = """#!/bin/bash
# Serves this machine's files, and becomes QEMU: DAEMON SOCKET READY QEMU...
daemon=$1 socket=$2 ready=$3
shift 3
rm -f "$socket"
( eval "exec $ready>&-"
  exec "$daemon" --socket-path="$socket" -o source=/,sandbox=chroot,cache=always ) &
until [ -S "$socket" ]; do kill -0 $! || exit 1; sleep 0.05; done
# In a session of its own, as every daemon: a kernel may share out processors by these.
exec setsid "$@"
"""


class EmulatedNode:
    """In the place of ``machine``; ``place`` keeps its images, with a short path.

    What the files ``consoles`` get, below its root, comes into those of the same names here.
    ``inside`` is a module with a ``main`` that runs there all the time: it passes them on to
    the devices that are given after them, and answers what is asked. ``timeouts`` are the agent's.
    """

    def __init__(
        self,
        machine: Machine,
        place: Path,
        size: str,
        *,
        consoles: Sequence[str],
        inside: str,
        timeouts: Mapping[str, float],
    ) -> None:
        self._machine, self._place = machine, place
        self._image = VolatileImage(place, size)
        self._consoles, self._inside = list(consoles), inside
        self._gantry = gantry(timeouts)
        self._kernel = made_guest_kernel(*MODULES)
        self._connection: socket.socket | None = None
        self._one_at_a_time = threading.Lock()
        self._questions = itertools.count()
        self.on = False
        """Whether it has power."""
        self.service: Service | None = None

    def build(self) -> Service:
        """Take over what the machine has; what runs it. Its readiness is that of its agent."""
        root = self._machine.root
        tree = self._place / "tree"
        for name in ("bin", "sbin", "dev", "proc", "sys", "root", "lower", "upper", "node"):
            (tree / name).mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox is not None, "busybox is missing: packaging/install-debian-packages"
        shutil.copy(busybox, tree / "bin/busybox")
        (tree / "sbin/init").write_text(_INIT)
        (tree / "sbin/init").chmod(0o755)
        (tree / "node/begin").write_text(self._begin())
        must("cp", "-a", str(root), str(tree / "node/root"))
        must("mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", str(tree), str(self._image.base))
        shutil.rmtree(tree)
        for console in self._consoles:
            (root / console).parent.mkdir(parents=True, exist_ok=True)
        (self._place / "run").write_text(_RUN)
        self.service = Service(
            f"node{self._machine.number}",
            self._argv(),
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            log=root / "qemu.err",
            patience=START,
        )
        return self.service

    def _begin(self) -> str:
        root = self._machine.root
        pairs = [(str(root / name), _port(at)) for at, name in enumerate(self._consoles, 3)]
        return _BEGIN.substitute(
            root=root,
            address=self._machine.address,
            python=sys.executable,
            gantry=shlex.join(self._gantry),
            project=_PROJECT,
            inside=self._inside,
            devices=" ".join(_port(at) for at in range(1, 3 + len(self._consoles))),
            consoles=" ".join(itertools.chain.from_iterable(pairs)),
        )

    def _argv(self) -> list[str]:
        tap, address = self._machine.replaced()
        root = self._machine.root
        disk = {"driver": "qcow2", "node-name": "layer1"}
        file = {"driver": "file", "filename": str(self._place / "layer1"), "aio": "threads"}
        # To whoever fills in the number of a file descriptor these braces are none.
        blockdev = json.dumps({**disk, "file": file}).replace("{", "{{").replace("}", "}}")
        consoles = itertools.chain.from_iterable(
            _channel(at, f"file,path={root / name},append=on")
            for at, name in enumerate(self._consoles, 3)
        )
        return [
            *("bash", str(self._place / "run"), file_daemon(), str(self._place / "files")),
            *("{ready}", "qemu-system-x86_64", "-accel", "tcg,thread=single,tb-size=256"),
            *("-machine", "q35,memory-backend=memory", "-smp", "1", "-cpu", "max"),
            *("-m", str(MEMORY), "-nodefaults", "-no-user-config", "-display", "none"),
            *("-object", f"memory-backend-memfd,id=memory,size={MEMORY}M,share=on"),
            *("-kernel", str(self._kernel.kernel), "-initrd", str(self._kernel.initrd)),
            *("-append", _ARGUMENTS, "-serial", f"file:{root / 'var/log/gantry/node.log'}"),
            *("-device", "virtio-serial-pci"),  # the first one: its number is in its ports' names
            *("-blockdev", blockdev, "-device", "virtio-blk-pci,drive=layer1"),
            *(*self._image.monitor, "-mon", "chardev=monitor,mode=control"),
            *("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={address},romfile="),
            *("-chardev", f"socket,id=files,path={self._place / 'files'}"),
            *("-device", "vhost-user-fs-pci,chardev=files,tag=machine"),
            *_channel(1, "file,path=/dev/fd/{ready}"),
            *_channel(2, f"socket,path={self._place / 'inside'},server=on,wait=off"),
            *consoles,
        ]

    def switch_on(self) -> None:
        """It boots, with what was kept; its service says when its agent serves."""
        assert self.service is not None
        self._image.more()
        self.on = True
        self.service.start(wait=False)

    def keep(self) -> None:
        """What was written so far stays; from now on only what is flushed does."""
        self._image.keep()

    def freeze(self) -> None:
        """It does nothing any more."""
        if self.service is not None:
            self.service.leave()
            self.service.send(signal.SIGSTOP)

    def lose_power(self) -> None:
        """Now: what remains is what was flushed."""
        if self.on:
            assert self.service is not None
            self.service.send(signal.SIGKILL)
            self.service.stop(signal.SIGKILL)
            with self._one_at_a_time:
                self._hang_up()
            self._image.rest()
            self.on = False

    def close(self) -> None:
        """Nothing is left of it."""
        self.lose_power()
        shutil.rmtree(self._place)

    def ask(self, what: str, *arguments: Any, patience: float = ANSWER) -> Any:
        """What is answered from within; None where there is no answer in that time.

        Nobody is asked who has not said that it serves.
        """
        if not self.on or self.service is None or not self.service.serves(0):
            return None
        with self._one_at_a_time:
            return self._asked([what, *arguments], patience)

    def _asked(self, question: list[Any], patience: float) -> Any:
        number = next(self._questions)
        try:
            if self._connection is None:
                self._connection = socket.socket(socket.AF_UNIX)
                self._connection.connect(str(self._place / "inside"))
            self._connection.settimeout(patience)
            self._connection.sendall((json.dumps([number, *question]) + "\n").encode())
            return self._answer(number)
        except TimeoutError:
            return None
        except OSError:
            self._hang_up()
            return None

    def _answer(self, number: int) -> Any:
        assert self._connection is not None
        line = b""
        while True:
            more = self._connection.recv(1 << 16)
            if not more:
                raise ConnectionError
            *lines, line = (line + more).split(b"\n")
            for one in lines:
                # An answer that came too late may be before it, or the end of one.
                try:
                    answered, answer = json.loads(one)
                except ValueError:
                    continue
                if answered == number:
                    return answer

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _port(number: int) -> str:
    return f"/dev/vport0p{number}"


def _channel(number: int, kind: str) -> tuple[str, ...]:
    driver, _, options = kind.partition(",")
    device = f"virtserialport,chardev=channel{number},nr={number}"
    return ("-chardev", f"{driver},id=channel{number},{options}", "-device", device)
