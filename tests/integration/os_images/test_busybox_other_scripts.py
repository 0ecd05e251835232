"""The busybox definition's verify, rename, export and import."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.integration.os_images.definition import (
    DEFINITIONS,
    Definition,
    empty_disk,
    file_system_is_clean,
    instance,
    look,
    loop_device,
    without,
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with the system on it, to be copied."""
    path = tmp_path_factory.mktemp("image") / "disk"
    made = Definition(directory=DEFINITIONS / "busybox").run(
        "create", instance(empty_disk(path, 256 << 20))
    )
    assert made.status == 0, made.said
    return path


@pytest.fixture
def installed(image: Path, disk: Path) -> Path:
    """A disk with the system on it."""
    subprocess.run(["cp", "--sparse=always", image, disk], check=True)
    return disk


def _last_write(path: Path) -> tuple[int, int]:
    return (path.stat().st_mtime_ns, path.stat().st_blocks)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"OSP_SHUTDOWN": "poweroff"},
        {"OSP_NAMESERVER": "192.0.2.53,2001:db8::53,::1"},
        {"OSP_NAMESERVER": "1:2:3:4:5:6:7:8"},
        {"OSP_MOTD": "Grüße\n\tan alle", "OSP_RUN": "echo 1\necho 2"},
    ],
)
def test_verify_takes_good_parameters(busybox: Definition, parameters: dict[str, str]) -> None:
    done = busybox.run("verify", parameters, "parameters", unprivileged=True)
    assert done.status == 0, done.said


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"OSP_SHUTDOWN": "later"}, "parameter shutdown: 'later' is not known; give poweroff or"),
        ({"OSP_NAMESERVER": "one.test"}, "parameter nameserver: 'one.test' is not an IP address"),
        ({"OSP_NAMESERVER": "1.2.3.256"}, "parameter nameserver: '1.2.3.256' is not an IP"),
        ({"OSP_NAMESERVER": "1.2.3"}, "parameter nameserver: '1.2.3' is not an IP address"),
        ({"OSP_NAMESERVER": "1:2:3"}, "parameter nameserver: '1:2:3' is not an IP address"),
        ({"OSP_NAMESERVER": "1::2::3"}, "parameter nameserver: '1::2::3' is not an IP address"),
        ({"OSP_NAMESERVER": "12345::"}, "parameter nameserver: '12345::' is not an IP address"),
        ({"OSP_NAMESERVER": "1.2.3.4, 1.2.3.5"}, "is not a list of IP addresses"),
        ({"OSP_NAMESERVER": "1.2.3.4,"}, "is not a list of IP addresses"),
        ({"OSP_NAMESERVER": "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4"}, "4 addresses; give at most 3"),
        ({"OSP_MOTD": "a\x1b[2J"}, "parameter motd: it has control characters"),
        ({"OSP_MOTD": "x" * 4097}, "parameter motd: 4097 bytes are too long"),
        ({"OSP_RUN": "x" * 16385}, "parameter run: 16385 bytes are too long"),
    ],
)
def test_verify_says_what_is_wrong_with_a_parameter(
    busybox: Definition, parameters: dict[str, str], message: str
) -> None:
    done = busybox.run("verify", parameters, "parameters")
    assert done.status == 1
    assert message in done.stderr


def test_verify_names_all_faults_at_once(busybox: Definition) -> None:
    parameters = {"OSP_SHUTDOWN": "later", "OSP_NAMESERVER": "x"}
    done = busybox.run("verify", parameters, "parameters")
    assert "parameter shutdown" in done.stderr
    assert "parameter nameserver" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("disks",)])
def test_verify_refuses_checks_that_it_does_not_know(
    busybox: Definition, arguments: tuple[str, ...]
) -> None:
    done = busybox.run("verify", {}, *arguments)
    assert done.status == 1
    assert "the only check is 'parameters'" in done.stderr


@pytest.mark.parametrize("unprivileged", [False, True])
def test_rename_changes_name_and_addresses_in_the_image(
    busybox: Definition, installed: Path, unprivileged: bool
) -> None:
    new = instance(
        installed,
        INSTANCE_NAME="db2.example.org",
        OLD_INSTANCE_NAME="web1.gantry.test",
        NIC_0_IP="10.0.2.77",
    )
    done = busybox.run("rename", new, unprivileged=unprivileged)
    assert done.status == 0, done.said
    assert look(installed, "cat /etc/hostname") == "db2.example.org\n"
    assert "10.0.2.77/24" in look(installed, "cat /etc/gantry/nics")
    assert "Mode:  0644" in look(installed, "stat /etc/hostname")
    assert file_system_is_clean(installed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"INSTANCE_NAME": "a/b"}, "INSTANCE_NAME 'a/b' is not a host name"),
        ({"DISK_COUNT": "0"}, "there is nothing to rename"),
        ({"DISK_0_PATH": "/nowhere/disk"}, "does not exist on this node"),
    ],
)
def test_rename_refuses_bad_input(
    busybox: Definition, installed: Path, change: dict[str, str], message: str
) -> None:
    before = _last_write(installed)
    done = busybox.run("rename", instance(installed) | change)
    assert done.status == 1
    assert message in done.stderr
    assert _last_write(installed) == before


def test_rename_refuses_a_disk_without_the_system(busybox: Definition, disk: Path) -> None:
    done = busybox.run("rename", instance(disk))
    assert done.status == 1
    assert f"there is no ext4 file system on {disk}" in done.stderr


@pytest.mark.parametrize("unprivileged", [False, True])
def test_an_exported_disk_comes_back_by_import(
    busybox: Definition, installed: Path, unprivileged: bool
) -> None:
    reader, writer = os.pipe()
    source = instance(installed, EXPORT_DEVICE=str(installed), EXP_SIZE_FD=str(writer))
    dump = busybox.run("export", source, pass_fds=(writer,), unprivileged=unprivileged)
    os.close(writer)
    with os.fdopen(reader) as size:
        assert int(size.read()) == len(dump.stdout)
    assert dump.status == 0, dump.stderr

    target = empty_disk(installed.parent / "other", 300 << 20)
    # What was on the disk before must not show through the holes.
    with target.open("r+b") as file:
        file.write(b"old" * 4096)
        file.seek(200 << 20)
        file.write(b"old" * 4096)
    target.chmod(0o666)
    environment = instance(target, IMPORT_DEVICE=str(target))
    done = busybox.run("import", environment, stdin=dump.stdout, unprivileged=unprivileged)
    assert done.status == 0, done.said
    assert target.stat().st_size == 300 << 20
    assert target.stat().st_blocks * 512 < 16 << 20
    assert target.read_bytes()[: 256 << 20] == installed.read_bytes()
    assert file_system_is_clean(target)


def test_a_dump_has_the_data_alone_and_tar_takes_it_apart(
    busybox: Definition, installed: Path
) -> None:
    dump = busybox.run("export", instance(installed, EXPORT_DEVICE=str(installed)))
    data = installed.stat().st_blocks * 512
    assert len(dump.stdout) < data * 1.1
    subprocess.run(["tar", "-xf", "-"], input=dump.stdout, cwd=installed.parent, check=True)
    assert (installed.parent / "disk.raw").read_bytes() == installed.read_bytes()


def test_export_of_a_disk_without_file_system_takes_all_of_it(
    busybox: Definition, disk: Path
) -> None:
    with disk.open("r+b") as file:
        file.seek(200 << 20)
        file.write(b"some data")
    dump = busybox.run("export", instance(disk, EXPORT_DEVICE=str(disk)))
    assert dump.status == 0, dump.stderr
    other = empty_disk(disk.parent / "other", 256 << 20)
    done = busybox.run("import", instance(other, IMPORT_DEVICE=str(other)), stdin=dump.stdout)
    assert done.status == 0, done.said
    assert other.read_bytes() == disk.read_bytes()


def test_a_plain_stream_of_bytes_can_be_imported(busybox: Definition, installed: Path) -> None:
    target = empty_disk(installed.parent / "other", 256 << 20)
    environment = instance(target, IMPORT_DEVICE=str(target))
    done = busybox.run("import", environment, stdin=installed.read_bytes())
    assert done.status == 0, done.said
    assert target.stat().st_blocks * 512 < 16 << 20
    assert target.read_bytes() == installed.read_bytes()


@pytest.mark.root
def test_a_block_device_is_exported_without_zeros_and_imported_over_old_data(
    busybox: Definition, installed: Path
) -> None:
    target = empty_disk(installed.parent / "other", 256 << 20)
    with target.open("r+b") as file:
        file.seek(200 << 20)
        file.write(b"old" * 4096)
    with loop_device(installed) as source, loop_device(target) as device:
        dump = busybox.run("export", instance(source, EXPORT_DEVICE=str(source)))
        environment = instance(device, IMPORT_DEVICE=str(device))
        done = busybox.run("import", environment, stdin=dump.stdout)
    assert done.status == 0, done.said
    assert len(dump.stdout) < 32 << 20
    assert target.read_bytes() == installed.read_bytes()


def test_export_goes_on_where_nobody_listens_for_the_size(
    busybox: Definition, installed: Path
) -> None:
    environment = instance(installed, EXPORT_DEVICE=str(installed), EXP_SIZE_FD="77")
    dump = busybox.run("export", environment)
    assert dump.status == 0, dump.stderr
    assert "EXP_SIZE_FD 77 is not open" in dump.stderr
    assert dump.stdout


@pytest.mark.parametrize(
    ("script", "name"), [("export", "EXPORT_DEVICE"), ("import", "IMPORT_DEVICE")]
)
def test_export_and_import_refuse_a_disk_that_is_not_there(
    busybox: Definition, script: str, name: str
) -> None:
    done = busybox.run(script, instance(None, **{name: "/nowhere/disk"}))
    assert (done.status, done.stdout) == (1, b"")
    assert f"the disk /nowhere/disk ({name}) does not exist" in done.stderr
    done = busybox.run(script, without(instance(None), name))
    assert f"{name} is not set" in done.stderr


def test_import_refuses_an_empty_dump(busybox: Definition, disk: Path) -> None:
    done = busybox.run("import", instance(disk, IMPORT_DEVICE=str(disk)))
    assert done.status == 1
    assert "the dump is empty" in done.stderr


def test_import_refuses_a_dump_that_is_larger_than_the_disk(
    busybox: Definition, installed: Path
) -> None:
    target = empty_disk(installed.parent / "other", 32 << 20)
    environment = instance(target, IMPORT_DEVICE=str(target))
    done = busybox.run("import", environment, stdin=installed.read_bytes())
    assert done.status == 1
    assert f"{target}: the dump is larger than the disk, which has 32 MiB" in done.stderr
    assert target.stat().st_size == 32 << 20


def test_import_refuses_a_dump_that_is_cut_off(busybox: Definition, installed: Path) -> None:
    target = empty_disk(installed.parent / "other", 256 << 20)
    environment = instance(target, IMPORT_DEVICE=str(target))
    done = busybox.run("import", environment, stdin=installed.read_bytes()[: 64 << 20])
    assert done.status == 1
    assert "the dump is cut off" in done.stderr


@pytest.mark.parametrize("kept", [700, 1600, 1 << 20])
def test_import_refuses_a_sparse_dump_that_is_cut_off(
    busybox: Definition, installed: Path, kept: int
) -> None:
    dump = busybox.run("export", instance(installed, EXPORT_DEVICE=str(installed)))
    target = empty_disk(installed.parent / "other", 256 << 20)
    environment = instance(target, IMPORT_DEVICE=str(target))
    done = busybox.run("import", environment, stdin=dump.stdout[:kept])
    assert done.status == 1
    assert "the dump is cut off" in done.stderr


def test_import_refuses_a_sparse_dump_that_is_too_large_before_it_writes(
    busybox: Definition, installed: Path
) -> None:
    dump = busybox.run("export", instance(installed, EXPORT_DEVICE=str(installed)))
    target = empty_disk(installed.parent / "other", 32 << 20)
    with target.open("r+b") as file:
        file.write(b"precious")
    done = busybox.run("import", instance(target, IMPORT_DEVICE=str(target)), stdin=dump.stdout)
    assert done.status == 1
    assert "the dump is larger than the disk, which has 32 MiB" in done.stderr
    assert target.read_bytes()[:8] == b"precious"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GNU.sparse.realsize=", b"GNU.sparse.realsize=x"),
        (b"GNU.sparse.major=1", b"GNU.sparse.major=2"),
        (b"\n0\n", b"\n9999999999999\n"),
    ],
)
def test_import_refuses_a_damaged_sparse_dump(
    busybox: Definition, installed: Path, old: bytes, new: bytes
) -> None:
    dump = busybox.run("export", instance(installed, EXPORT_DEVICE=str(installed)))
    assert old in dump.stdout[:4096]
    target = empty_disk(installed.parent / "other", 256 << 20)
    environment = instance(target, IMPORT_DEVICE=str(target))
    done = busybox.run("import", environment, stdin=dump.stdout.replace(old, new, 1))
    assert done.status == 1
    assert done.stderr.startswith("busybox: ")
    assert "Traceback" not in done.said
