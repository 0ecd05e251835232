"""Building a system that boots, as an image to be copied: costly, so it is kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from guest import programs
from guest.inputs import Fault, say, variable, words
from guest.keep import Keep
from guest.tables import ALIGNMENT, SECTOR

from debian_guest import sources
from debian_guest.parameters import Settings

RECIPE = 3
"""To be raised whenever what is built here changes, so that older images are not used."""
LABEL = "debian-root"
OFFSET = ALIGNMENT * SECTOR
_BUILD_SECONDS = 7200.0
_SECONDS = 600.0
_GRUB = Path("/usr/lib/grub/i386-pc")
_MODULES = (
    *("biosdisk", "part_msdos", "ext2", "normal", "linux", "configfile"),
    *("serial", "terminal", "echo", "test", "search", "probe"),
)
_SYSTEM = (
    *("systemd-sysv", "systemd-resolved", "dbus", "udev", "kmod", "iproute2", "iputils-ping"),
    *("netbase", "less", "openssh-server", "linux-image-cloud-amd64", "initramfs-tools"),
    *("e2fsprogs", "ca-certificates", "libnss-myhostname"),
)
_GRUB_CONFIGURATION = """\
# The menu of this guest. It starts the newest kernel, by the links that Debian keeps.
# no_timer_check: an emulated guest on a busy node may fail that check, and halt.
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=1
set timeout_style=hidden
set arguments="ro quiet no_timer_check console=tty0 console=ttyS0,115200"
probe --set=uuid --fs-uuid $root
menuentry "Debian" {
  linux /vmlinuz root=UUID=$uuid $arguments
  initrd /initrd.img
}
menuentry "Debian, previous kernel" {
  linux /vmlinuz.old root=UUID=$uuid $arguments
  initrd /initrd.img.old
}
"""
# Where a busy machine emulates, 90 seconds until there is a serial line can be too few.
_MANAGER = """\
[Manager]
DefaultDeviceTimeoutSec=300
"""
_HOST_KEYS = """\
[Unit]
Description=SSH host keys of this guest
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


def image(settings: Settings) -> int:
    """A descriptor of the image for these parameters, built where there is none that is fresh."""
    mirror, security = sources.archives()
    told = {
        "recipe": RECIPE,
        "variant": variable("OS_VARIANT"),
        "mirror": mirror,
        "security": security,
        "packages": sorted(set(words(variable("OSP_PACKAGES")))),
    }
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    keep = Keep(settings.cache, settings.cache_bytes)
    with keep.locked(key) as work:
        age = keep.age(key)
        if age is None or age > settings.cache_seconds:
            keep.take_in(_build(work, settings, mirror, security), key)
        keep.used(key)
        return os.open(keep.path(key), os.O_RDONLY | os.O_CLOEXEC)


def _build(work: Path, settings: Settings, mirror: str, security: str) -> Path:
    programs.require(mmdebstrap="mmdebstrap", mke2fs="e2fsprogs", unshare="util-linux")
    programs.require(grub_mkimage="grub-common")
    if not (_GRUB / "boot.img").is_file():
        raise Fault(f"cannot find {_GRUB}/boot.img on this node: install grub-pc-bin")
    if os.geteuid() != 0:
        raise Fault("building a Debian needs the rights of root: run the agent as root")
    if not Path(settings.keyring).is_file():
        raise Fault(f"cannot find {settings.keyring} on this node: install debian-archive-keyring")
    root = work / "root"
    suites = sources.suites(variable("OS_VARIANT"), mirror, security)
    say(
        f"building {variable('OS_VARIANT')} from {mirror}; this takes minutes, the next one seconds"
    )
    _bootstrap(root, work, settings, suites)
    _finish(root, suites)
    made = work / "image"
    _file_system(root, made)
    _boot_loader(work, made)
    return made


def _bootstrap(
    root: Path, work: Path, settings: Settings, suites: Sequence[tuple[str, str]]
) -> None:
    """In a mount namespace of its own, so that nothing stays mounted, whatever happens."""
    temporary = work / "tmp"
    temporary.mkdir(mode=0o755)
    packages = ",".join([*_SYSTEM, *words(variable("OSP_PACKAGES"))])
    argv = [
        *("unshare", "--mount", "--propagation", "private", "--"),
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
        *("--architectures=amd64", "--dpkgopt=force-unsafe-io", f"--include={packages}"),
    ]
    proxy = settings.proxy or sources.proxy()
    if proxy:
        argv.append(f'--aptopt=Acquire::http::Proxy "{proxy}"')
    argv += [variable("OS_VARIANT"), str(root)]
    argv += [f"deb [signed-by={settings.keyring}] {uri} {suite} main" for uri, suite in suites]
    environment = {"TMPDIR": str(temporary), "DEBIAN_FRONTEND": "noninteractive"}
    before = os.umask(0o022)
    try:
        programs.run(
            argv, timeout=_BUILD_SECONDS, environment=environment, output=sys.stdout.buffer
        )
    except Fault:
        raise Fault(
            "mmdebstrap failed; its words are above. Is the mirror right, and can it be reached? "
            "Where it says NO_PUBKEY, the node's debian-archive-keyring is older than the release: "
            "update it"
        ) from None
    finally:
        os.umask(before)


def _finish(root: Path, suites: Sequence[tuple[str, str]]) -> None:
    """What makes a system out of the packages; all guests of this image have it."""
    lines = "".join(f"deb {uri} {suite} main\n" for uri, suite in suites)
    _file(root / "etc/apt/sources.list", lines)
    for path in (root / "etc/apt/sources.list.d").glob("*"):
        path.unlink()
    _file(root / "boot/grub/grub.cfg", _GRUB_CONFIGURATION)
    _file(root / "etc/machine-id", "")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    _file(root / "etc/systemd/system.conf.d/10-gantry.conf", _MANAGER)
    units = root / "etc/systemd/system"
    _file(units / "ssh-host-keys.service", _HOST_KEYS)
    _link(units / "multi-user.target.wants/ssh-host-keys.service", "../ssh-host-keys.service")
    network = "/lib/systemd/system/systemd-networkd"
    _link(units / "multi-user.target.wants/systemd-networkd.service", f"{network}.service")
    _link(units / "sockets.target.wants/systemd-networkd.socket", f"{network}.socket")
    _link(units / "dbus-org.freedesktop.network1.service", f"{network}.service")
    for directory, mode in ((root / "etc/systemd/network", 0o755), (root / "root/.ssh", 0o700)):
        directory.mkdir(mode=mode, exist_ok=True)
        directory.chmod(mode)


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    path.parent.chmod(0o755)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.parent.chmod(0o755)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _file_system(root: Path, made: Path) -> None:
    """A file system with some room; it grows to its partition at the guest's first boot."""
    say("making the file system")
    used = sum(path.lstat().st_blocks * SECTOR for path in root.rglob("*"))
    size = (used * 5 // 4 + (96 << 20)) >> 20 << 20
    options = f"offset={OFFSET},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-m", "1", "-J", "size=32"]
    argv += ["-E", options, "-d", str(root), str(made), f"{size >> 10}k"]
    programs.run(argv, timeout=_SECONDS)
    with made.open("r+b") as file:
        file.truncate(OFFSET + size)
    shutil.rmtree(root)


def _boot_loader(work: Path, made: Path) -> None:
    """GRUB, whose first sector looks for the rest of it in the sectors that follow."""
    core = work / "core.img"
    argv = ["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", str(core)]
    programs.run([*argv, *_MODULES], timeout=_SECONDS)
    first, rest = (_GRUB / "boot.img").read_bytes(), core.read_bytes()
    if len(first) != SECTOR or len(rest) > OFFSET - SECTOR:
        raise Fault(f"the boot loader has {len(rest)} bytes, more than there is room for")
    with made.open("r+b") as file:
        file.write(first[:440].ljust(SECTOR, b"\0"))
        file.write(rest)
