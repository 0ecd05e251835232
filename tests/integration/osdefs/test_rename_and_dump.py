"""``rename``, ``export`` and ``import`` with real scripts and real streams."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.osdefs.definitions import seen, write
from tests.integration.osdefs.test_create import RUN

from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import OsFacts
from gantry.osdefs import dump, environment
from gantry.osdefs.logged import Care
from gantry.osdefs.rename import rename
from gantry.osdefs.search import Finder


class Site:
    """A node's root with a disk, and what the scripts said."""

    def __init__(self, root: Path) -> None:
        self.os = root / "srv/ganeti/os"
        self.disk = root / "disks/disk0"
        self.disk.parent.mkdir()
        self.disk.write_bytes(b"content\n")
        self.lines: list[str] = []
        care = Care(
            log_directory=root / "var/log/ganeti/os",
            progress=self.lines.append,
            timeout=60.0,
            now=lambda: 0.0,
        )
        self.finder = Finder(root, ("/srv/ganeti/os",))
        self.given = (self.finder, RUN, [str(self.disk)], care)

    @property
    def facts(self) -> OsFacts:
        found = self.finder.lookup("deb")
        assert found is not None
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = os.umask(0o077)  # an agent's
    yield Site(tmp_path)
    os.umask(before)


async def test_rename_knows_both_names_and_has_a_log_of_both(site: Site) -> None:
    body = 'echo "$OLD_INSTANCE_NAME -> $INSTANCE_NAME"; pwd; umask; cat; echo "$# arguments"'
    path = write(site.os, scripts={"rename": body})
    log = await rename(*site.given, old_name="old.example.com")
    assert site.lines == ["old.example.com -> web1.example.com", str(path), "0077", "0 arguments"]
    assert re.fullmatch(r"rename-deb-old\.example\.com-web1\.example\.com-[-0-9_]+\.log", log.name)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_rename_gets_exactly_its_variables(site: Site) -> None:
    write(site.os, scripts={"rename": "env"})
    log = await rename(*site.given, old_name="old.example.com")
    wanted = environment.rename(site.facts, RUN, [str(site.disk)], old_name="old.example.com")
    assert seen(log.read_text().splitlines()) == wanted


async def test_a_rename_that_fails_says_so_with_its_last_lines(site: Site) -> None:
    write(site.os, scripts={"rename": "echo cannot; exit 3"})
    with pytest.raises(OperationFailed, match=r"new name failed.*exit status 3(?s:.*)cannot"):
        await rename(*site.given, old_name="old.example.com")


async def test_an_untrusted_definition_may_rename(site: Site) -> None:
    path = write(site.os)
    (path / "create").rename(path / "create_untrusted")
    await rename(*site.given, old_name="old.example.com")


async def test_a_name_that_leads_elsewhere_names_no_log(site: Site) -> None:
    write(site.os)
    for name in ("../../x", "a/b", "a..b", ""):
        with pytest.raises(Rejected):
            await rename(*site.given, old_name=name + "/")


async def test_export_writes_its_stream_and_says_how_much_it_will_be(
    site: Site, tmp_path: Path
) -> None:
    body = (
        'wc -c < "$EXPORT_DISK_PATH" >&"$EXP_SIZE_FD"; cat "$EXPORT_DEVICE"; '
        'echo "said $EXPORT_INDEX" >&2; env >&2; pwd >&2; umask >&2'
    )
    path = write(site.os, scripts={"export": body})
    reading, writing = os.pipe()
    with (tmp_path / "dump").open("wb") as target:
        log = await dump.export(*site.given, index=0, target=target.fileno(), size=writing)
    os.close(writing)
    with os.fdopen(reading) as size:
        assert size.read() == "8\n"
    assert (tmp_path / "dump").read_bytes() == b"content\n"
    assert log.name.startswith("export-deb-web1.example.com-disk0-")
    said = log.read_text().splitlines()
    assert said[0] == "said 0"
    assert said[-2:] == [str(path), "0077"]
    # The clean environment is promised for these scripts too.
    found = seen(said)
    descriptor = int(found["EXP_SIZE_FD"])
    paths = [str(site.disk)]
    assert found == environment.export(
        site.facts, RUN, paths, index=0, device=paths[0], size_descriptor=descriptor
    )
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_an_export_without_a_size_has_no_such_descriptor(site: Site, tmp_path: Path) -> None:
    write(site.os, scripts={"export": 'echo "[$EXP_SIZE_FD]"; ls -d /proc/$$/fd/[3-9]'})
    with (tmp_path / "dump").open("wb") as target, pytest.raises(OperationFailed, match="/fd/"):
        await dump.export(*site.given, index=0, target=target.fileno())
    assert (tmp_path / "dump").read_text() == "[]\n"


async def test_import_gets_exactly_its_variables(site: Site) -> None:
    write(site.os, scripts={"import": "env; echo $(pwd) $(umask) >&2"})
    with Path("/dev/null").open("rb") as source:
        log = await dump.import_disk(*site.given, index=0, source=source.fileno())
    said = log.read_text().splitlines()
    assert seen(said) == environment.import_disk(site.facts, RUN, [str(site.disk)], index=0)
    assert said[-1] == f"{site.facts.path} 0077"
    assert re.fullmatch(r"import-deb-web1\.example\.com-disk0-[-0-9_]+\.log", log.name)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_import_reads_its_stream(site: Site, tmp_path: Path) -> None:
    write(site.os, scripts={"import": 'cat > "$IMPORT_DEVICE"; echo "done $IMPORT_INDEX"'})
    (tmp_path / "dump").write_bytes(b"another\n")
    with (tmp_path / "dump").open("rb") as source:
        log = await dump.import_disk(*site.given, index=0, source=source.fileno())
    assert site.disk.read_bytes() == b"another\n"
    assert site.lines == ["done 0"]
    assert log.name.startswith("import-deb-web1.example.com-disk0-")
