"""The definition cloud-image: fetching, keeping, the partition table, the seed, bad parameters."""

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.integration.os_images.cloud_images import MEBIBYTE, make_image
from tests.integration.os_images.definition import (
    PATH,
    Definition,
    Outcome,
    empty_disk,
    instance,
    loop_device,
)
from tests.integration.os_images.image_server import ImageServer, image_server

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmV5Lk3 somebody@example.org"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("images")
    made = {label: make_image(place, label) for label in ("gpt", "dos", "")}
    made["qcow2"] = place / "image.qcow2"
    convert = ["qemu-img", "convert", "-c", "-O", "qcow2", *map(str, (made["gpt"], made["qcow2"]))]
    subprocess.run(convert, check=True, timeout=60)
    return made


@pytest.fixture
def cloud(cloud_image: Definition, images: dict[str, Path]) -> Definition:
    """The definition, allowed to use the images that are made here."""
    with (cloud_image.directory / "settings").open("a") as file:
        file.write(f"IMAGES=/nowhere:{images['gpt'].parent}\n")
    return cloud_image


@pytest.fixture
def cache(cloud_image: Definition) -> Path:
    return cloud_image.directory.parent / "cache"


def _variables(disk: Path | None, **more: str) -> dict[str, str]:
    mine = {"OS_NAME": "cloud-image", "INSTANCE_OS": "cloud-image", "INSTANCE_UUID": "uuid-1"}
    return instance(disk, **mine, **more)


def _seed(disk: Path) -> dict[str, str]:
    """The files of the seed, wherever it is on the disk, as an independent program reads them."""
    found = disk.read_bytes()
    start = found.index(b"\x01CD001") - 16 * 2048
    assert start % MEBIBYTE == 0
    said = subprocess.run(
        ["bsdtar", "-xOf", "-", "-s", "/x/x/", "meta-data", "network-config", "vendor-data"],
        input=found[start : start + MEBIBYTE],
        capture_output=True,
        check=True,
    ).stdout.decode()
    meta, _, rest = said.partition("}\n{")
    network, _, vendor = rest.partition("#cloud-config\n")
    user = subprocess.run(
        ["bsdtar", "-xOf", "-", "user-data"],
        input=found[start : start + MEBIBYTE],
        capture_output=True,
        check=True,
    ).stdout.decode()
    return {"meta": meta + "}", "network": "{" + network, "vendor": vendor, "user": user}


def _gpt_is_sound(disk: Path) -> bool:
    said = subprocess.run(["sgdisk", "-v", disk], capture_output=True, text=True, check=True).stdout
    return "No problems found" in said


def _create(cloud: Definition, disk: Path, image: str, **more: str) -> Outcome:
    return cloud.run("create", _variables(disk, OSP_IMAGE=image, **more))


@pytest.mark.parametrize("kind", ["gpt", "qcow2", "dos"])
def test_the_image_is_on_the_disk_and_the_seed_in_a_partition(
    cloud: Definition, images: dict[str, Path], disk: Path, kind: str
) -> None:
    done = _create(cloud, disk, str(images[kind]), OSP_SSH_KEYS=KEY, OSP_PACKAGES="vim, less")
    assert done.status == 0, done.said
    raw = images["gpt" if kind == "qcow2" else kind].read_bytes()
    start, end = MEBIBYTE, 15 * MEBIBYTE
    assert disk.read_bytes()[start:end] == raw[start:end]
    assert disk.stat().st_blocks * 512 < 20 * MEBIBYTE
    if kind != "dos":
        assert _gpt_is_sound(disk)
    seed = _seed(disk)
    meta = json.loads(seed["meta"])
    assert meta["local-hostname"] == "web1.gantry.test"
    assert meta["instance-id"].startswith("uuid-1-")
    assert meta["public-keys"] == [KEY]
    assert json.loads(seed["vendor"]) == {"packages": ["vim", "less"]}
    (nic,) = json.loads(seed["network"])["ethernets"].values()
    assert nic["match"] == {"macaddress": "aa:00:00:12:34:56"}
    assert nic["addresses"] == ["10.0.2.15/24"]


def test_addresses_come_from_the_nics(
    cloud: Definition, images: dict[str, Path], disk: Path
) -> None:
    nics = {
        "NIC_COUNT": "3",
        "NIC_0_MODE": "bridged",
        "NIC_0_IP": "192.0.2.7",
        "NIC_0_NETWORK_SUBNET": "192.0.2.0/26",
        "NIC_0_NETWORK_GATEWAY": "192.0.2.1",
        "NIC_1_MAC": "aa:00:00:00:00:02",
        "NIC_1_MODE": "bridged",
        "NIC_2_MAC": "aa:00:00:00:00:03",
        "NIC_2_MODE": "routed",
        "NIC_2_IP": "2001:db8::7",
        "OSP_NAMESERVER": "192.0.2.53",
    }
    done = _create(cloud, disk, str(images["gpt"]), **nics)
    assert done.status == 0, done.said
    found = json.loads(_seed(disk)["network"])["ethernets"]
    assert found["eth0"]["addresses"] == ["192.0.2.7/26"]
    assert found["eth0"]["routes"] == [{"to": "0.0.0.0/0", "via": "192.0.2.1"}]
    assert found["eth0"]["nameservers"] == {"addresses": ["192.0.2.53"]}
    assert found["eth1"]["dhcp4"] is True
    assert found["eth2"]["addresses"] == ["2001:db8::7/128"]
    assert found["eth2"]["routes"] == [{"on-link": True, "to": "::/0", "via": "fe80::1"}]


def test_an_image_without_a_partition_table_has_its_seed_on_the_second_disk(
    cloud: Definition, images: dict[str, Path], disk: Path
) -> None:
    alone = _create(cloud, disk, str(images[""]))
    assert alone.status == 1
    assert "give the instance a second disk" in alone.stderr
    assert disk.stat().st_blocks == 0
    second = empty_disk(disk.parent / "second", MEBIBYTE)
    both = {"DISK_COUNT": "2", "DISK_1_PATH": str(second)}
    done = _create(cloud, disk, str(images[""]), **both)
    assert done.status == 0, done.said
    assert json.loads(_seed(second)["meta"])["local-hostname"] == "web1.gantry.test"
    renamed = _variables(disk, INSTANCE_NAME="other.example.org", **both)
    renamed |= {"DISK_COUNT": "2"}
    assert cloud.run("rename", renamed).status == 0
    assert json.loads(_seed(second)["meta"])["local-hostname"] == "other.example.org"


def test_user_data_is_passed_on_as_it_is(
    cloud: Definition, images: dict[str, Path], disk: Path
) -> None:
    text = "#cloud-config\nruncmd:\n  - echo \"Grüße\" $(id) `id` 'x'\n"
    done = _create(cloud, disk, str(images["gpt"]), OSP_USER_DATA=text)
    assert done.status == 0, done.said
    assert _seed(disk)["user"] == text


def test_a_fetched_image_is_kept_and_not_asked_for_again(
    cloud_image: Definition, images: dict[str, Path], disk: Path, cache: Path
) -> None:
    content = images["qcow2"].read_bytes()
    checksum = hashlib.sha512(content).hexdigest()
    with image_server(content) as server:
        for _ in range(2):
            url = server.url("/image?token=secret")
            done = _create(cloud_image, disk, url, OSP_CHECKSUM=checksum)
            assert done.status == 0, done.said
            assert "secret" not in done.said
    assert server.asked == ["/image?token=secret"]
    assert [path.name for path in cache.glob("*.raw")] == [f"{checksum}.raw"]
    assert not list(cache.glob("*.partial"))
    assert _gpt_is_sound(disk)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing", "the server answers 404"),
        ("/broken", "broke off after"),
        ("/elsewhere", "the server sends elsewhere, to 'ftp://one.test/image', which is refused"),
        ("/image", "is not the image that was meant: its checksum is"),
    ],
)
def test_an_image_that_does_not_come_right_leaves_nothing(
    cloud_image: Definition, disk: Path, cache: Path, path: str, message: str
) -> None:
    with image_server(b"x" * MEBIBYTE) as server:
        done = _create(cloud_image, disk, server.url(path), OSP_CHECKSUM="0" * 64)
    assert done.status == 1
    assert message in done.stderr
    assert "Traceback" not in done.said
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]
    assert disk.stat().st_blocks == 0


def test_a_server_that_is_not_there_is_said(cloud_image: Definition, disk: Path) -> None:
    done = _create(cloud_image, disk, "http://127.0.0.1:9/i", OSP_CHECKSUM="0" * 64)
    assert done.status == 1
    assert "http://127.0.0.1:9/i cannot be fetched" in done.stderr


def test_two_at_once_fetch_once_and_a_killed_one_leaves_the_next_one_free(
    cloud_image: Definition, images: dict[str, Path], disk: Path, cache: Path
) -> None:
    content = images["gpt"].read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    other = empty_disk(disk.parent / "other", 64 * MEBIBYTE)
    with image_server(content) as server:
        killed = _start(cloud_image, disk, server, checksum)
        assert server.half_sent.wait(60)
        waiting = _start(cloud_image, other, server, checksum)
        assert waiting.stdout is not None
        assert b"waiting for another installation" in waiting.stdout.readline()
        assert list(cache.glob("*.partial/fetched"))
        server.go_on.set()
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        said, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said
    assert not list(cache.glob("*.partial"))
    assert _gpt_is_sound(other)


def _start(
    definition: Definition, disk: Path, server: ImageServer, checksum: str
) -> subprocess.Popen[bytes]:
    variables = _variables(disk, OSP_IMAGE=server.url("/held"), OSP_CHECKSUM=checksum)
    return subprocess.Popen(
        [definition.directory / "create"],
        env={"PATH": PATH, **variables},
        cwd=definition.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_images_used_least_recently_make_room(
    cloud_image: Definition, images: dict[str, Path], disk: Path, cache: Path
) -> None:
    with (cloud_image.directory / "settings").open("a") as file:
        file.write("CACHE_MIB=20\n")
    checksums = []
    for number in range(2):
        # Data that compresses badly, so that each takes its 14 MiB.
        content = os.urandom(14 * MEBIBYTE)
        checksums.append(hashlib.sha256(content).hexdigest())
        with image_server(content) as server:
            done = _create(
                cloud_image, disk, server.url(), OSP_CHECKSUM=checksums[-1], OSP_SEED="none"
            )
            assert done.status == 0, (number, done.said)
    assert [path.stem for path in cache.glob("*.raw")] == [checksums[1]]
    assert f"removing the image {checksums[0][:12]}" in done.said
    with image_server(bytes(21 * MEBIBYTE)) as server:
        done = _create(cloud_image, disk, server.url(), OSP_CHECKSUM="0" * 64)
    assert "more than CACHE_MIB allows" in done.stderr


def test_a_directory_that_others_may_write_is_no_place_to_keep_images(
    cloud_image: Definition, disk: Path, cache: Path
) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    done = _create(cloud_image, disk, "http://127.0.0.1:9/i", OSP_CHECKSUM="0" * 64)
    assert done.status == 1
    assert "may be written by others" in done.stderr


def test_a_file_that_not_everybody_may_read_is_no_image(
    cloud: Definition, images: dict[str, Path], disk: Path, place: Path
) -> None:
    private = place / "private.raw"
    private.write_bytes(images["gpt"].read_bytes())
    link = images["gpt"].parent / "link.raw"
    link.unlink(missing_ok=True)
    link.symlink_to(private)
    private.chmod(0o600)
    for path in (private, link):
        done = _create(cloud, disk, str(path))
        assert done.status == 1
        assert "may not be read by every user of the node" in done.stderr
    private.chmod(0o644)
    assert _create(cloud, disk, str(private)).status == 0


@pytest.mark.parametrize("options", [["-b", "base.raw", "-F", "raw"], ["-o", "data_file=data.raw"]])
def test_a_qcow2_image_that_reads_another_file_is_refused(
    cloud: Definition, images: dict[str, Path], disk: Path, options: list[str]
) -> None:
    place = images["gpt"].parent
    empty_disk(place / "base.raw", MEBIBYTE)
    image = place / f"needs-{options[0][1]}.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(image), "1M"]
    subprocess.run(argv, cwd=place, check=True)
    done = _create(cloud, disk, str(image))
    assert done.status == 1
    assert "the image needs another file" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xfd7zXZ\0" + bytes(600), "the image is compressed by xz: convert it"),
        (b"KDMV" + bytes(600), "the image is a VMDK image"),
        (b"", "is empty"),
        (b"\0" * 512 + b"EFI PART" + bytes(1016), "the partition table (GPT) is of a kind"),
    ],
)
def test_what_is_no_image_is_refused(
    cloud: Definition, images: dict[str, Path], disk: Path, content: bytes, message: str
) -> None:
    image = images["gpt"].parent / "wrong"
    image.write_bytes(content)
    done = _create(cloud, disk, str(image))
    assert done.status == 1
    assert message in done.stderr
    assert disk.stat().st_blocks == 0


def test_an_image_that_is_larger_than_the_disk_is_refused(
    cloud: Definition, images: dict[str, Path], place: Path
) -> None:
    small = empty_disk(place / "small", 8 * MEBIBYTE)
    done = _create(cloud, small, str(images["gpt"]))
    assert done.status == 1
    assert "the image has 16 MiB, the disk 8 MiB: give it a larger disk" in done.stderr
    same = empty_disk(place / "same", 16 * MEBIBYTE)
    done = _create(cloud, same, str(images["gpt"]))
    assert "no room for one more partition" in done.stderr
    assert same.stat().st_blocks == 0


def test_a_checksum_of_a_file_on_the_node_is_checked(
    cloud: Definition, images: dict[str, Path], disk: Path
) -> None:
    done = _create(cloud, disk, str(images["gpt"]), OSP_CHECKSUM="0" * 64)
    assert done.status == 1
    assert "is not the image that was meant" in done.stderr
    right = hashlib.sha256(images["gpt"].read_bytes()).hexdigest()
    assert _create(cloud, disk, str(images["gpt"]), OSP_CHECKSUM=right.upper()).status == 0


def test_export_import_to_a_larger_disk_and_rename(
    cloud: Definition, images: dict[str, Path], place: Path
) -> None:
    source = empty_disk(place / "source", 24 * MEBIBYTE)
    assert _create(cloud, source, str(images["gpt"])).status == 0
    before = json.loads(_seed(source)["meta"])["instance-id"]
    dump = cloud.run("export", _variables(source, EXPORT_DEVICE=str(source)))
    assert dump.status == 0, dump.stderr
    assert len(dump.stdout) < source.stat().st_blocks * 512 * 1.1
    target = empty_disk(place / "target", 40 * MEBIBYTE)
    new = _variables(target, INSTANCE_NAME="new.example.org", IMPORT_DEVICE=str(target))
    done = cloud.run("import", new, stdin=dump.stdout)
    assert done.status == 0, done.said
    done = cloud.run("rename", new | {"OLD_INSTANCE_NAME": "web1.gantry.test"})
    assert done.status == 0, done.said
    assert _gpt_is_sound(target)
    meta = json.loads(_seed(target)["meta"])
    assert meta["local-hostname"] == "new.example.org"
    assert meta["instance-id"] != before
    kept = slice(MEBIBYTE, 15 * MEBIBYTE)
    assert target.read_bytes()[kept] == source.read_bytes()[kept]


@pytest.mark.root
def test_a_block_device_is_a_disk_too(
    cloud: Definition, images: dict[str, Path], disk: Path
) -> None:
    with disk.open("r+b") as file:
        for place in (15 * MEBIBYTE, disk.stat().st_size - 4096):
            file.seek(place)
            file.write(b"old data")
    with loop_device(disk) as device:
        assert _create(cloud, device, str(images["gpt"])).status == 0
    assert _gpt_is_sound(disk)
    assert b"old data" not in disk.read_bytes()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"OSP_IMAGE": "disk.raw"}, "neither an absolute path nor a URL"),
        ({"OSP_IMAGE": "ftp://one.test/x"}, "is not a URL of http or https"),
        ({"OSP_IMAGE": "file:///etc/shadow"}, "is not a URL of http or https"),
        ({"OSP_IMAGE": "http://u:p@one.test/"}, "a URL with a user or a password is refused"),
        ({"OSP_IMAGE": "http://one.test/"}, "parameter checksum: missing"),
        ({"OSP_IMAGE": "http://one.test/a\nb"}, "is not a URL of http or https"),
        ({"OSP_CHECKSUM": "12"}, "neither a SHA-256 (64 hexadecimal digits) nor a SHA-512"),
        ({"OSP_USER_DATA": "hello"}, "its first line is none that cloud-init knows"),
        ({"OSP_USER_DATA": "#!" + "x" * 65536}, "more than 65536 bytes"),
        ({"OSP_SSH_KEYS": "command=x ssh-rsa AAAA"}, "line 1: 'command=x ssh-rsa AAAA' is not"),
        ({"OSP_SSH_KEYS": KEY + "\n\nwrong"}, "parameter ssh-keys, line 2: 'wrong' is not"),
        ({"OSP_PACKAGES": "vim -y"}, "'-y' is not the name of a package"),
        ({"OSP_NAMESERVER": "one.test"}, "'one.test' is not an IP address"),
        ({"OSP_SEED": "cdrom"}, "'cdrom' is not known; give auto, partition, disk, none"),
        ({"OSP_PASSWORD_HASH": "geheim"}, "this is not the hash of a password"),
        ({"OS_VARIANT": "x"}, "there is no variant 'x'"),
    ],
)
def test_verify_says_what_is_wrong(
    cloud_image: Definition, parameters: dict[str, str], message: str
) -> None:
    done = cloud_image.run("verify", parameters, "parameters")
    assert done.status == 1
    assert message in done.stderr
    assert "geheim" not in done.said


def test_verify_takes_good_parameters_and_leaves_nothing_behind(cloud_image: Definition) -> None:
    good = {
        "OSP_IMAGE": "https://one.test/images/debian-12.qcow2?x=1",
        "OSP_CHECKSUM": "a" * 128,
        "OSP_USER_DATA": "#cloud-config\nfinal_message: up\n",
        "OSP_SSH_KEYS": KEY + "\n" + KEY,
        "OSP_PASSWORD_HASH": "$6$abcdefgh$" + "x" * 86,
        "OSP_PACKAGES": "vim,less",
        "OSP_NAMESERVER": "192.0.2.1,2001:db8::1",
        "OSP_SEED": "auto",
    }
    before = sorted(cloud_image.directory.rglob("*"))
    for parameters in ({}, good):
        done = cloud_image.run("verify", parameters, "parameters", unprivileged=True)
        assert done.status == 0, done.said
    assert sorted(cloud_image.directory.rglob("*")) == before


def test_a_setting_that_is_not_known_is_named(cloud_image: Definition) -> None:
    (cloud_image.directory / "settings").write_text("CACHE_MB=1\n")
    done = cloud_image.run("verify", {}, "parameters")
    assert done.status == 1
    assert "settings, line 1: no setting 'CACHE_MB'; there are: CACHE," in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"INSTANCE_NAME": 'x"\ny'}, "is not a host name"),
        ({"NIC_0_MAC": "zz"}, "is not a MAC address"),
        ({"NIC_0_IP": "1.2.3.4\nx"}, "is not an IP address"),
        ({"DISK_0_PATH": "/nowhere"}, "the disk /nowhere (DISK_0_PATH): No such file"),
        ({"DISK_COUNT": "0"}, "the instance has no disk"),
        ({"OSP_IMAGE": ""}, "parameter image: missing"),
    ],
)
def test_create_refuses_bad_input_before_it_writes(
    cloud: Definition, images: dict[str, Path], disk: Path, change: dict[str, str], message: str
) -> None:
    done = cloud.run("create", _variables(disk, OSP_IMAGE=str(images["gpt"])) | change)
    assert done.status == 1
    assert message in done.stderr
    assert disk.stat().st_blocks == 0
