"""A Debian is built, exported, imported to a larger disk under a new name, and boots to a login."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.integration.os_images.booted_guest import USER_NIC, BootedGuest, booted, virtio_disk
from tests.integration.os_images.definition import Definition, empty_disk, instance

PASSWORD = "a long one"
BUILD = 1200.0
BOOT = 400.0
pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.timeout(BUILD + 2 * BOOT)]


def _keep(definition: Definition) -> None:
    """Systems that were built stay between test runs, as long as the code that built them does."""
    digest = hashlib.sha256()
    for path in sorted((definition.directory / "debian_guest").glob("*.py")):
        digest.update(path.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(base) / "gantry/test-debian"
    for old in place.glob("*"):
        if time.time() - old.stat().st_mtime > 86400:
            shutil.rmtree(old)
    cache = place / digest.hexdigest()[:16]
    (definition.directory / "settings").write_text(f"CACHE={cache}\nCACHE_DAYS=7\n")


def _variables(variant: str, disk: Path, **more: str) -> dict[str, str]:
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True
    )
    mine = {
        "OS_NAME": "debian",
        "OS_VARIANT": variant,
        "INSTANCE_OS": f"debian+{variant}",
        "OSP_PASSWORD_HASH": hashed.stdout.strip(),
        "OSP_SSH_KEYS": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmV5Lk3 somebody@example.org",
    }
    return instance(disk, **{**mine, **more})


async def _log_in(guest: BootedGuest) -> None:
    await guest.wait_for_text("login: ", BOOT)
    await guest.type("root")
    await guest.wait_for_text("Password: ")
    await guest.type(PASSWORD)
    await guest.wait_for_text("# ")


async def _told(guest: BootedGuest, command: str) -> str:
    # Written so that the echo of what is typed is not taken for the answer.
    await guest.type(f'echo "t"old: $({command})')
    line = await guest.wait_for("told: ")
    return line.partition("told: ")[2].strip()


async def _exported_imported_and_booted(debian: Definition, place: Path, variant: str) -> None:
    source = empty_disk(place / "source", 1024 << 20)
    made = debian.run("create", _variables(variant, source), timeout=BUILD)
    assert made.status == 0, made.said
    started = time.monotonic()
    again = debian.run("create", _variables(variant, source), timeout=BUILD)
    print(f"{variant}, kept: created in {time.monotonic() - started:.2f} s")
    assert again.status == 0, again.said
    assert b"building" not in again.stdout

    dump = debian.run("export", _variables(variant, source, EXPORT_DEVICE=str(source)))
    assert dump.status == 0, dump.stderr
    assert len(dump.stdout) < source.stat().st_blocks * 512 * 1.1
    disk = empty_disk(place / "disk", 2048 << 20)
    disk.chmod(0o600)
    names = {"INSTANCE_NAME": "new.example.org", "OLD_INSTANCE_NAME": "web1.gantry.test"}
    new = _variables(variant, disk, IMPORT_DEVICE=str(disk)) | names
    done = debian.run("import", new, stdin=dump.stdout)
    assert done.status == 0, done.said
    done = debian.run("rename", new | {"NIC_0_IP": "10.0.2.77"})
    assert done.status == 0, done.said

    async with booted(None, "", *virtio_disk(disk), *USER_NIC, memory=512) as guest:
        await _log_in(guest)
        assert await _told(guest, "hostname -f") == "new.example.org"
        assert f"VERSION_CODENAME={variant}" in await _told(guest, "cat /etc/os-release")
        assert "10.0.2.77/24" in await _told(guest, "ip -4 -o address")
        assert "default via 10.0.2.2" in await _told(guest, "ip route")
        size = await _told(guest, "df --output=size -m / | tail -n 1")
        assert int(size) > 1800
        assert "ssh-ed25519 AAAA" in await _told(guest, "cat /root/.ssh/authorized_keys")
        assert await _told(guest, "cat /etc/machine-id") not in ("", "uninitialized")
        await guest.press_power_button()
        status, _ = await guest.wait_for_end(BOOT)
    assert status == 0


async def test_bookworm_boots_to_a_login(debian: Definition, place: Path) -> None:
    _keep(debian)
    await _exported_imported_and_booted(debian, place, "bookworm")


def _forget_network(disk: Path) -> None:
    ours = "rm /etc/systemd/network/10-gantry-0.network"
    subprocess.run(["debugfs", "-w", "-R", ours, f"{disk}?offset={1 << 20}"], check=True)


@pytest.mark.long
async def test_the_real_cloud_init_takes_the_seed(
    debian: Definition, cloud_image: Definition, place: Path
) -> None:
    """The image is a Debian with cloud-init in it, and without what our definition says of NICs."""
    _keep(debian)
    source = empty_disk(place / "source", 1024 << 20)
    packages = "cloud-init cloud-guest-utils"
    made = debian.run(
        "create", _variables("bookworm", source, OSP_PACKAGES=packages), timeout=BUILD
    )
    assert made.status == 0, made.said
    _forget_network(source)
    disk = empty_disk(place / "disk", 2048 << 20)
    asked = _variables("", disk, OS_NAME="cloud-image", OSP_IMAGE=str(source)) | {
        "NIC_0_IP": "10.0.2.77",
        "OSP_USER_DATA": "#cloud-config\nlocale: false\nruncmd:\n- touch /root/by-user-data\n",
    }
    made = cloud_image.run("create", asked)
    assert made.status == 0, made.said
    async with booted(None, "", *virtio_disk(disk), *USER_NIC, memory=512) as guest:
        await _log_in(guest)
        await guest.type("cloud-init status --wait; echo 'e'nded")
        await guest.wait_for_text("\nended", BOOT)
        assert await _told(guest, "hostname") == "web1"
        assert "10.0.2.77/24" in await _told(guest, "ip -4 -o address")
        assert "ssh-ed25519 AAAA" in await _told(guest, "cat /home/debian/.ssh/authorized_keys")
        assert await _told(guest, "ls /root") == "by-user-data"
        assert int(await _told(guest, "df --output=size -m / | tail -n 1")) > 1800
        assert "cidata" in await _told(guest, "blkid /dev/vda4")
        await guest.press_power_button()
        await guest.wait_for_end(BOOT)


@pytest.mark.long
async def test_trixie_boots_to_a_login(debian: Definition, place: Path) -> None:
    _keep(debian)
    await _exported_imported_and_booted(debian, place, "trixie")
