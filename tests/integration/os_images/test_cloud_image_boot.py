"""A cloud image boots under QEMU and finds its seed, served over HTTP, exported and imported."""

import hashlib
from pathlib import Path

import pytest
from tests.integration.os_images.booted_guest import USER_NIC, booted, virtio_disk
from tests.integration.os_images.cloud_images import MEBIBYTE, make_image
from tests.integration.os_images.definition import Definition, empty_disk, instance
from tests.integration.os_images.image_server import image_server
from tests.support.guest_kernel import GuestKernel

pytestmark = pytest.mark.qemu


async def test_the_guest_reads_its_seed_also_after_export_import_and_rename(
    cloud_image: Definition, place: Path, disk: Path, guest_kernel: GuestKernel
) -> None:
    content = make_image(place, "gpt").read_bytes()
    with image_server(content) as server:
        asked = {
            "OS_NAME": "cloud-image",
            "OSP_IMAGE": server.url(),
            "OSP_CHECKSUM": hashlib.sha256(content).hexdigest(),
            "OSP_USER_DATA": "#cloud-config\nfinal_message: told\n",
        }
        made = cloud_image.run("create", instance(disk, **asked))
        assert made.status == 0, made.said
    async with booted(guest_kernel, "root=/dev/vda1", *virtio_disk(disk), *USER_NIC) as guest:
        assert await guest.wait_for("seed on") == "cloud-guest: seed on /dev/vda128"
        assert '"local-hostname": "web1.gantry.test"' in await guest.wait_for("local-hostname")
        assert "aa:00:00:12:34:56" in await guest.wait_for("macaddress")
        await guest.wait_for("final_message: told")
        status, rest = await guest.wait_for_end()
    assert status == 0
    # The kernel complains of a copy of the table that is not at the end of the disk.
    assert "gpt:" not in rest.lower()

    dump = cloud_image.run("export", instance(disk, EXPORT_DEVICE=str(disk)))
    target = empty_disk(place / "target", 300 * MEBIBYTE)
    new = instance(target, INSTANCE_NAME="new.example.org", IMPORT_DEVICE=str(target))
    for script, stdin in (("import", dump.stdout), ("rename", b"")):
        done = cloud_image.run(script, new, stdin=stdin)
        assert done.status == 0, done.said
    async with booted(guest_kernel, "root=/dev/vda1", *virtio_disk(target), *USER_NIC) as guest:
        assert '"local-hostname": "new.example.org"' in await guest.wait_for("local-hostname")
        status, rest = await guest.wait_for_end()
    assert "gpt:" not in rest.lower()
