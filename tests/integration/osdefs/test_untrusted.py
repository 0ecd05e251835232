"""A script in a guest: what it is given, and what is made of what its guest says.

The guest is a shell here, which has the same open files as QEMU.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.integration.osdefs.definitions import is_dead, write
from tests.integration.osdefs.test_create import RUN

from gantry.model.errors import OperationFailed
from gantry.model.live import OsFacts
from gantry.model.orders import InstallationGuest
from gantry.osdefs import package as packages
from gantry.osdefs import running, untrusted
from gantry.osdefs.logged import Care
from gantry.osdefs.search import Finder

SECRETS = {"word": "it's a $ecret"}


class Site:
    """A node's root with one definition, and what its guest said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = write(root / "srv/ganeti/os")
        (self.path / "create").rename(self.path / "create_untrusted")
        found = Finder(root, ("/srv/ganeti/os",)).lookup("deb")
        assert found is not None
        self.facts: OsFacts = found
        self.lines: list[str] = []
        self.variables = untrusted.variables(self.facts, RUN, reinstall=False, secrets=SECRETS)

    async def install(
        self, guest: str, *, startup: float = 60, shutdown: float = 60, timeout: float = 60
    ) -> Path:
        """``guest``: for a shell that has ``$package`` and ``$results`` in place of QEMU."""
        care = Care(log_directory=self.root / "log", progress=self.lines.append, timeout=timeout)
        with (
            packages.package(self.path, self.variables) as packed,
            untrusted.results() as results,
        ):
            numbers = f"package={packed} results={results.target}"
            command = running.Guest(
                argv=("/bin/sh", "-c", f"{numbers}\n{guest}"), inherited=(packed, results.target)
            )
            return await untrusted.install(
                self.facts,
                RUN,
                command,
                results,
                care,
                guest=InstallationGuest(
                    image="/i", memory=64, vcpus=1, startup=startup, shutdown=shutdown
                ),
                temporary=self.root,
                secrets=SECRETS,
            )

    async def failure(self, guest: str, **more: float) -> OperationFailed:
        with pytest.raises(OperationFailed) as caught:
            await self.install(guest, **more)
        return caught.value


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path)


def read_environment(place: Path) -> str:
    """What a shell makes of the file, each variable with a NUL behind it."""
    argv = ["env", "-i", "/bin/sh", "-c", "set -a; . ./environment; set +a; env -0"]
    return subprocess.run(argv, cwd=place, capture_output=True, check=True, text=True).stdout


def say(*words: str) -> str:
    return "\n".join(f'echo "{word}" > /dev/fd/$results' for word in words)


async def test_the_guest_gets_the_definition_and_the_environment(site: Site) -> None:
    (site.path / "parts").mkdir()
    (site.path / "parts/more").write_text("more\n")
    (site.path / "link").symlink_to("parts/more")
    (site.path / "nowhere").symlink_to("/nowhere")
    unpack = f"mkdir {site.root}/in; tar -x -f /dev/fd/$package -C {site.root}/in"
    await site.install(f"{unpack}\n{say('started', 'ended 0')}")
    given = site.root / "in"
    assert sorted(each.name for each in (given / "os").iterdir()) == [
        "create_untrusted", "export", "ganeti_api_version", "import", "link", "nowhere",
        "parameters.list", "parts", "rename", "verify",
    ]  # fmt: skip
    assert os.access(given / "os/create_untrusted", os.X_OK)
    assert (given / "os/parts/more").read_text() == "more\n"
    # A link is what it leads to, within the definition.
    assert (given / "os/link").read_text() == "more\n"
    assert not (given / "os/link").is_symlink()
    read = await asyncio.to_thread(read_environment, given)
    told = dict(line.split("=", 1) for line in read.split("\0")[:-1])
    assert told["OS_SCRIPT"] == "create_untrusted"
    assert told["DISK_0_PATH"] == "/dev/vdb"
    assert told["OSP_WORD"] == SECRETS["word"]
    assert told["OSP_KEY"] == "hunter2"
    assert {**told, **site.variables} == told


async def test_a_link_out_of_the_definition_shows_no_file_of_the_node(site: Site) -> None:
    """The author of the script is not trusted, and the node's files are read as root."""
    outside = site.root / "srv/ganeti/os/deb.key"
    outside.write_text("of the node")
    (site.path / "parts").mkdir()
    (site.path / "parts/link").symlink_to(outside)
    (site.path / "link").symlink_to("parts/link")
    (site.path / "directory").symlink_to("/etc")
    (site.path / "loop").symlink_to("loop")
    (site.path / "same").symlink_to("parts")
    with packages.package(site.path, site.variables) as packed:
        data = await asyncio.to_thread(os.pread, packed, 1 << 20, 0)
    assert b"of the node" not in data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        links = {one.name: one.linkname for one in archive.getmembers() if one.issym()}
        assert links["os/link"] == "parts/link"
        assert links["os/parts/link"] == str(outside)
        assert links["os/directory"] == "/etc"
        assert links["os/same"] == "parts"
        assert not any(name.startswith("os/directory/") for name in archive.getnames())


async def test_nothing_of_it_is_on_a_disk_or_in_the_processs_environment(site: Site) -> None:
    whole = "cat /proc/self/environ /proc/$$/cmdline; ls -l /proc/$$/fd/$package\n"
    log = await site.install(whole + say("started", "ended 0"))
    said = log.read_text()
    assert SECRETS["word"] not in said
    assert "OSP_" not in said
    assert "/memfd:os-package (deleted)" in said


async def test_its_output_is_logged_and_shown(site: Site) -> None:
    log = await site.install(f"echo hello; echo hunter2\n{say('started', 'ended 0')}")
    assert log.name.startswith("add-deb-web1.example.com-")
    assert log.read_text() == "hello\nhunter2\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert site.lines == ["hello", "<redacted>"]


async def test_a_script_that_fails_is_told_with_its_status_and_last_words(site: Site) -> None:
    error = await site.failure(f"echo no such mirror\n{say('started', 'ended 3')}")
    assert "create_untrusted ended with exit status 3 in its installation guest" in error.message
    assert "no such mirror" in error.message


@pytest.mark.parametrize(
    ("guest", "message"),
    [
        (say("started"), "did not tell how it ended"),
        (say("started", "ended", "ended yes", "ended 0 or so"), "did not tell how it ended"),
        ("", "did not tell how it ended"),
        (f"{say('started', 'ended 0')}\nexit 1", "in its guest: QEMU ended with exit status 1"),
        ("echo cannot open the image >&2; exit 1", "cannot open the image"),
    ],
)
async def test_no_word_is_no_success(site: Site, guest: str, message: str) -> None:
    assert message in (await site.failure(guest)).message


async def test_a_guest_that_does_not_begin_is_ended(site: Site) -> None:
    pid = site.root / "pid"
    error = await site.failure(f"echo booting; echo $$ > {pid}; exec sleep 1000", startup=0.5)
    assert "was not begun by the installation guest within 0.5 s" in error.message
    assert "booting" in error.message
    assert is_dead(pid)


async def test_a_guest_that_does_not_end_is_ended(site: Site) -> None:
    pid = site.root / "pid"
    hangs = f"echo $$ > {pid}\n{say('started')}\nexec sleep 1000"
    began = time.monotonic()
    error = await site.failure(hangs, startup=300, shutdown=0.5)
    assert "did not end within 0.5 s of its beginning" in error.message
    # It counts from there, whatever is left of the time to begin.
    assert time.monotonic() - began < 100
    assert is_dead(pid)


async def test_one_that_talks_without_end_is_ended_with_its_time(site: Site) -> None:
    """What it says of itself is not read for ever, and its pipe holds it."""
    error = await site.failure("exec yes started > /dev/fd/$results", startup=300, shutdown=1)
    assert "did not end within 1 s of its beginning" in error.message


async def test_a_definition_that_is_too_large_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MOST", 1000)
    (site.path / "large").write_bytes(bytes(1001))
    error = await site.failure(say("started", "ended 0"))
    assert "too many to be handed over to a guest" in error.message
    assert "install image" in error.hint


def test_the_package_has_whole_sectors(site: Site) -> None:
    with packages.package(site.path, {"A": "b"}) as packed:
        data = os.pread(packed, 1 << 20, 0)
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames()[:2] == ["environment", "os"]
        assert {(one.uid, one.gid) for one in archive.getmembers()} == {(0, 0)}


def test_an_instance_with_many_disks_has_them_in_order(site: Site) -> None:
    disks = tuple(msgspec.structs.replace(RUN.disks[0], index=index) for index in range(16))
    run = msgspec.structs.replace(RUN, disks=disks)
    told = untrusted.variables(site.facts, run, reinstall=True, secrets=None)
    assert told["DISK_15_PATH"] == "/dev/vdq"
    assert told["INSTANCE_REINSTALL"] == "1"
