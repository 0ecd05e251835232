"""Installing an instance with real scripts."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.integration.osdefs.definitions import is_dead, seen, write

from gantry.model.entities import DiskTemplate
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, OsRun
from gantry.osdefs import environment, follow, running
from gantry.osdefs.create import create
from gantry.osdefs.logged import Care
from gantry.osdefs.search import Finder

RUN = OsRun(
    os="deb",
    uuid=Uuid(str(uuid.uuid4())),
    name="web1.example.com",
    hypervisor="fake",
    ctime=1.5,
    mtime=2.5,
    primary_node=(Uuid("uuid-1"), "node1.example.com"),
    disks=(DiskSpec(uuid=Uuid("d"), index=0, size=64, path="/x", template=DiskTemplate.FILE),),
    private_parameters={"key": "hunter2"},
)


class Site:
    """A node's root with one definition, and what its create said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.os = root / "srv/ganeti/os"
        self.logs = root / "var/log/ganeti/os"
        self.disk = root / "disk0"
        self.lines: list[str] = []
        self.finder = Finder(root, ("/srv/ganeti/os",))

    @property
    def facts(self) -> OsFacts:
        found = self.finder.lookup("deb")
        assert found is not None
        return found

    async def create(
        self,
        run: OsRun = RUN,
        *,
        reinstall: bool = False,
        secrets: dict[str, str] | None = None,
        timeout: float = 60,
        said: Callable[[str], None] | None = None,
    ) -> Path:
        def progress(line: str) -> None:
            self.lines.append(line)
            if said is not None:
                said(line)

        return await create(
            self.finder,
            run,
            [str(self.disk)],
            Care(log_directory=self.logs, progress=progress, timeout=timeout, now=lambda: 0.0),
            reinstall=reinstall,
            secrets=secrets or {},
        )

    async def failure(self, **more: float) -> OperationFailed:
        with pytest.raises(OperationFailed) as caught:
            await self.create(**more)  # type: ignore[arg-type]  # only timeout is given
        return caught.value


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = os.umask(0o077)  # an agent's
    yield Site(tmp_path)
    os.umask(before)


async def test_create_writes_to_the_disk_and_its_output_is_logged_and_shown(site: Site) -> None:
    write(site.os, scripts={"create": 'echo disk > "$DISK_0_PATH"; echo one; echo two >&2'})
    log = await site.create()
    assert site.disk.read_text() == "disk\n"
    assert site.lines == ["one", "two"]
    assert log.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert re.fullmatch(r"add-deb-web1\.example\.com-\d{4}-\d\d-\d\d_\d\d_\d\d_\d\d\.log", log.name)


async def test_the_script_has_a_session_of_its_own_and_a_clean_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", "1")
    body = 'pwd; umask; ps -o sid= -p $$; echo pid $$; echo "in [$(cat)]"; env; ls -l /proc/$$/fd'
    path = write(site.os, scripts={"create": body})
    text = (await site.create(reinstall=True)).read_text()
    lines = text.splitlines()
    assert lines[:2] == [str(path), "0077"]
    assert lines[2].strip() == lines[3].removeprefix("pid ")
    assert "in []" in lines
    assert "INSTANCE_REINSTALL=1" in lines
    assert seen(lines) == environment.create(site.facts, RUN, [str(site.disk)], reinstall=True)
    assert f"DISK_0_PATH={site.disk}" in lines
    assert "/dev/null" in text


async def test_lines_come_while_the_script_runs(site: Site) -> None:
    go = site.root / "go"
    os.mkfifo(go)
    write(site.os, scripts={"create": f"echo waiting; cat {go}; echo done"})
    waiting = asyncio.Event()

    def said(line: str) -> None:
        waiting.set()

    task = asyncio.create_task(site.create(said=said))
    await asyncio.wait_for(waiting.wait(), 100)
    assert site.lines == ["waiting"]
    await asyncio.to_thread(go.write_text, "go\n")
    await task
    assert site.lines == ["waiting", "go", "done"]


async def test_a_failure_has_the_status_and_the_last_20_lines(site: Site) -> None:
    write(site.os, scripts={"create": "seq 1 50; exit 7"})
    error = await site.failure()
    assert "exit status 7" in error.message
    assert f"{site.os}/deb/create" in error.message
    assert error.message.splitlines()[1:] == [str(number) for number in range(31, 51)]
    assert error.object_name == "web1.example.com"


async def test_a_death_by_signal_is_named(site: Site) -> None:
    write(site.os, scripts={"create": "kill -KILL $$"})
    assert "signal 9 (SIGKILL)" in (await site.failure()).message


async def test_a_script_that_hangs_is_ended_with_all_its_processes(site: Site) -> None:
    write(site.os, scripts={"create": f"sleep 1000 & echo $! > {site.root}/pid; wait"})
    error = await site.failure(timeout=0.5)
    assert "did not end within 0.5 s" in error.message
    assert is_dead(site.root / "pid")


async def test_a_cancelled_create_ends_its_processes_and_says_so(site: Site) -> None:
    write(site.os, scripts={"create": f"sleep 1000 & echo $! > {site.root}/pid; echo up; wait"})
    up = asyncio.Event()
    task = asyncio.create_task(site.create(said=lambda line: up.set()))
    await asyncio.wait_for(up.wait(), 100)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "cancelled" in site.lines[-1]
    assert is_dead(site.root / "pid")


async def test_a_gigabyte_of_output_is_bounded_in_the_log_and_elsewhere(site: Site) -> None:
    write(site.os, scripts={"create": "yes 0123456789 | head -c 1073741824; echo; echo end"})
    log = await site.create()
    kept = running.LOG_FIRST + running.LOG_LAST
    assert kept < log.stat().st_size < kept + 100
    text = log.read_bytes()
    assert text.startswith(b"0123456789\n")
    assert f"\n({(1 << 30) + 5 - kept} bytes left out)\n".encode() in text
    assert text.endswith(b"\nend\n")
    assert len(site.lines) <= follow.MAX_LINES + 1
    assert "more output" in site.lines[-1]


async def test_one_endless_line_is_bounded(site: Site) -> None:
    write(site.os, scripts={"create": "head -c 10485760 /dev/zero; exit 1"})
    error = await site.failure()
    assert sum(map(len, site.lines)) < 2 * follow.MAX_LINE
    assert len(error.message) < 5000


@pytest.mark.parametrize("how", ["sleep 1000 &", "setsid sleep 1000 &", "(setsid sleep 1000 &)"])
async def test_a_process_left_in_the_background_is_ended_and_said(site: Site, how: str) -> None:
    write(site.os, scripts={"create": f"{how}\necho bye"})
    await asyncio.wait_for(site.create(), 100)
    bye, left = site.lines
    assert bye == "bye"
    found = re.fullmatch(
        r"create left process (\d+) \((sleep|setsid|create)\) behind: cleared away", left
    )
    assert found, left
    (site.root / "pid").write_text(found[1])
    assert is_dead(site.root / "pid")


async def test_a_process_left_behind_by_a_script_that_failed_or_was_ended_is_ended_too(
    site: Site,
) -> None:
    write(site.os, scripts={"create": "setsid sleep 1000 & exit 1"})
    assert "exit status 1" in (await site.failure()).message
    assert "behind: cleared away" in site.lines[-1]
    site.lines.clear()
    (site.os / "deb/create").write_text("#!/bin/sh\nsetsid sleep 1000 & wait\n")
    assert "did not end" in (await site.failure(timeout=0.5)).message
    assert "behind: cleared away" in site.lines[-1]


async def test_processes_that_are_just_being_replaced_are_found(site: Site) -> None:
    """While a process executes another program, the kernel shows no environment of it."""
    write(site.os, scripts={"create": "setsid ./again & sleep 0.05"})
    again = site.os / "deb/again"
    again.write_text('#!/bin/sh\nexec "$0"\n')
    again.chmod(0o755)
    for _ in range(20):
        await site.create()
        assert "behind: cleared away" in site.lines.pop()


async def test_processes_of_others_are_left_alone(site: Site) -> None:
    other = {"INSTANCE_UUID": "another", "OS_NAME": "deb"}
    process = await asyncio.create_subprocess_exec("sleep", "1000", env={**os.environ, **other})
    write(site.os, scripts={"create": "exit 0"})
    await site.create()
    assert process.returncode is None
    process.kill()
    await process.wait()
    assert site.lines == []


async def test_private_and_secret_values_are_not_passed_on(site: Site) -> None:
    body = 'echo "$OSP_KEY and $OSP_PASSWORD"; exit 1'
    write(site.os, scripts={"create": body})
    with pytest.raises(OperationFailed) as caught:
        await site.create(secrets={"password": "correct horse"})
    assert site.lines == ["<redacted> and <redacted>"]
    assert "hunter2" not in caught.value.message
    assert "correct horse" not in caught.value.message


async def test_terminal_controls_are_taken_out_of_what_is_shown(site: Site) -> None:
    write(site.os, scripts={"create": r"printf '10%%\r20%%\n\033[2Jboo\377\n'"})
    await site.create()
    assert site.lines == ["20%", "\ufffd[2Jboo\ufffd"]


async def test_a_definition_that_is_not_valid_is_refused_before_anything(site: Site) -> None:
    (write(site.os) / "export").unlink()
    with pytest.raises(Rejected, match="export is missing"):
        await site.create()
    assert not site.logs.exists()


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", ".."])
async def test_a_name_never_leads_out_of_the_log_directory(site: Site, name: str) -> None:
    write(site.os)
    with pytest.raises(Rejected):
        await site.create(msgspec.structs.replace(RUN, name=name))
    with pytest.raises(Rejected):
        await site.create(msgspec.structs.replace(RUN, os=f"deb+x/{name}"))
    assert not site.logs.exists() or not list(site.logs.iterdir())


async def test_a_log_that_cannot_be_written_is_explained(site: Site) -> None:
    write(site.os)
    site.logs.parent.mkdir(parents=True)
    site.logs.write_text("not a directory")
    error = await site.failure()
    assert str(site.logs) in error.message
    assert error.hint


async def test_two_runs_within_a_second_have_a_log_each(site: Site) -> None:
    write(site.os, scripts={"create": "echo one"})
    logs = [await site.create() for _ in range(3)]
    assert [log.read_text() for log in logs] == ["one\n"] * 3
    assert [log.name[-6:] for log in logs[1:]] == [".2.log", ".3.log"]


async def test_runs_that_begin_together_have_a_log_each(site: Site) -> None:
    write(site.os, scripts={"create": "echo one"})
    runs = [msgspec.structs.replace(RUN, uuid=Uuid(f"web1-{number}")) for number in range(12)]
    logs = await asyncio.gather(*map(site.create, runs))
    assert len(set(logs)) == 12
    assert [log.read_text() for log in logs] == ["one\n"] * 12


async def test_a_log_that_is_a_link_is_not_followed(site: Site) -> None:
    write(site.os)
    log = await site.create()
    log.unlink()
    log.symlink_to(site.root / "elsewhere")
    error = await site.failure()
    assert log.name in error.message
    assert not (site.root / "elsewhere").exists()


async def test_what_is_to_run_in_a_guest_does_not_run_on_the_node(site: Site) -> None:
    definition = write(site.os, scripts={"create": f"echo it ran > {site.root}/ran"})
    (definition / "create_untrusted").write_text(f"#!/bin/sh\necho it ran > {site.root}/ran\n")
    (definition / "create_untrusted").chmod(0o755)
    with pytest.raises(Rejected, match="create_untrusted, which runs in an") as caught:
        await site.create()
    assert "--install-image" in caught.value.hint
    assert not (site.root / "ran").exists()
