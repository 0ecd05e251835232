"""A change with a harm meanwhile, and what must hold then: it happened wholly or not at all."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from tests.redundancy import breaking, changing, harming, layout, operating, orders
from tests.redundancy.changes import SEVERAL, Change, Draw
from tests.redundancy.cluster import DAEMON, QEMU, Rig
from tests.redundancy.layout import Layout
from tests.redundancy.watching import Watch, story
from tests.support.cluster import Done, eventually

ENDED = ("success", "error", "canceled")
BY_ITSELF = 30.0
"""Seconds in which a guest that died is started again, if it is."""
STRANGER = "anew.example.com"
"""A guest for changes that lose what is on its disk."""
_BUG = re.compile(r"^(Traceback|.*\bbug: )", re.MULTILINE)
_log = logging.getLogger(__name__)


def guests(rig: Rig, draw: Draw) -> tuple[str, ...]:
    """Those that it is about and that stay."""
    if draw.change in SEVERAL:
        return tuple(sorted(rig.guests))
    if draw.change is Change.RECREATE:
        return ()
    return (operating.draw(sorted(rig.guests), draw.victim),)


def carry_out(rig: Rig, draw: Draw) -> None:
    """Prepare it, do both, and bring everything back; fails with what is wrong."""
    since = _last_job(rig)
    said = _Logs(rig)
    if draw.change is Change.RECREATE:
        with _stranger(rig, draw):
            _both(rig, draw, STRANGER)
            _writes(rig)
    else:
        _both(rig, draw, guests(rig, draw)[0])
    for name in sorted(rig.guests):
        layout.restore(rig, name)
    _all_run(rig)
    rig.calm()
    _fits(rig)
    _explained(rig, since)
    said.check()


def _all_run(rig: Rig) -> None:
    """What died too often to be started again by itself is started by the operator."""
    began = time.monotonic()

    def so() -> bool:
        rows = rig.rows("name,status") or ()
        for row in rows if time.monotonic() > began + BY_ITSELF else ():
            if row["status"] == "ERROR_down":
                rig.run("gnt-instance", "start", row["name"])
        return bool(rows) and all(row["status"] == "running" for row in rows)

    eventually("all guests run", so, timeout=rig.calms)


def _both(rig: Rig, draw: Draw, name: str) -> None:
    begun = changing.begin(rig, draw, name)
    before = {one: layout.read(rig, one) for one in sorted(rig.guests)}
    if begun.passing:
        rig.watch.astray.add(begun.passing)
    done = _amid(rig, draw, begun)
    breaking.heal(rig)
    rig.fleet.all_serve()
    eventually("all jobs end", lambda: not _unfinished(rig), timeout=rig.calms)
    now = {one: layout.read(rig, one) for one in before}
    _log.info("status %d: %s", done.status, " / ".join(done.said.split("\n")[-4:]))
    _whole(rig, begun, name, done, before, now)
    if draw.change is Change.RECREATE and done.status:
        operating.until_done(rig, "made anew", *begun.words)
    if begun.passing:
        layout.down(rig, name)
        rig.watch.astray.discard(begun.passing)


def _amid(rig: Rig, draw: Draw, begun: changing.Begun) -> Done:
    logs = [orders.Log(machine.root) for machine in rig.fleet.machines]
    with ThreadPoolExecutor(1) as pool:
        command: Future[Done] = pool.submit(
            rig.run, begun.words[0], *begun.words[1:], timeout=rig.calms
        )
        found = orders.so_many(logs, draw.begun, command.done)
        operating.last(draw.lag)
        last = found[-1].partition("effect=")[2] if found else "nothing"
        _log.info("%d orders, the last one %s; ended: %s", len(found), last, command.done())
        harming.do(rig, draw, begun.nodes)
        return command.result()


def _whole(
    rig: Rig,
    begun: changing.Begun,
    name: str,
    done: Done,
    before: dict[str, Layout],
    now: dict[str, Layout],
) -> None:
    """What it says it has done is so; what it has not done is as it was."""
    here = f"{' '.join(begun.words)} ended with {done.status}: {done.said}\n{before}\n{now}"
    if done.status == 0:
        assert begun.made(now[name]), f"it has not happened: {here}"
    elif not begun.several:
        assert begun.made(now[name]) or now[name] == before[name], f"it is half done: {here}"
        assert done.said.strip() or done.status < 0, f"it has failed and says nothing: {here}"
    for one in before:
        if one != name and not begun.several:
            assert now[one] == before[one], f"{one} has changed, too: {here}"


@contextmanager
def _stranger(rig: Rig, draw: Draw) -> Iterator[None]:
    primary = operating.draw(rig.fleet.numbers, draw.victim)
    other = primary % len(rig.fleet.numbers) + 1
    done = rig.add(STRANGER, f"node{primary}:node{other}")
    assert done.status == 0, done.said
    rig.know()
    try:
        yield
    finally:
        breaking.heal(rig)
        words = ("gnt-instance", "remove", "-f", "--shutdown-timeout=0", STRANGER)
        operating.until_done(rig, "it is removed", *words)
        rig.know()


def _writes(rig: Rig) -> None:
    """The stranger runs, and finds an empty disk."""
    watch = Watch(rig.fleet, {STRANGER: rig.guests[STRANGER]})
    watch.look()
    watch.said[STRANGER].clear()
    watch.start()
    try:
        layout.up(rig, STRANGER)
        assert not watch.behind([STRANGER], 5, rig.calms), "it does not write"
    finally:
        watch.enough.set()
        watch.join()
    said = watch.said[STRANGER]
    wrong = [*watch.twice, *story(said)]
    assert not wrong and said[0].word == "READ" and said[0].number == 0, [*wrong, said[:2]]


def _fits(rig: Rig) -> None:
    """The state fits the nodes, after what can be mended by itself was."""
    said = list[str]()

    def clean() -> bool:
        said.clear()
        rig.run("gnt-cluster", "repair", "-f")
        for words in (("gnt-cluster", "verify", "--error-codes"), ("gnt-cluster", "verify-disks")):
            done = rig.run(*words)
            if done.status:
                said.append(done.said)
        said.extend(_left(rig))
        return not said

    try:
        eventually("verify is content", clean, timeout=rig.calms)
    except AssertionError as error:
        raise AssertionError(f"{error}: {'; '.join(said)}") from None


def _left(rig: Rig) -> list[str]:
    """Files of disks, and processes, that no guest has there."""
    found = {name: layout.read(rig, name) for name in rig.guests}
    wrong = list[str]()
    for machine in rig.fleet.machines:
        number = machine.number
        storage = machine.root / "srv/ganeti"
        wrong += [
            f"{machine.name}: {path.relative_to(machine.root)}"
            for path in storage.glob("*file-storage/**/*disk*")
            if path.is_file() and not _owned(rig, found, number, str(path))
        ]
        copies = sum(number in one.secondaries for one in found.values())
        running = sum(number == one.primary and one.up for one in found.values())
        for program, most in ((DAEMON, copies), (QEMU, running)):
            there = rig.processes(number, program)
            if len(there) > most:
                wrong.append(f"{machine.name}: {len(there)} of {program}, and not {most}: {there}")
    return wrong


def _owned(rig: Rig, found: dict[str, Layout], number: int, path: str) -> bool:
    return any(
        (name in path or rig.guests[name] in path) and number in one.disks[0]
        for name, one in found.items()
    )


def _jobs(rig: Rig) -> list[dict[str, object]] | None:
    done = rig.run("gnt-job", "list", "--json", "-o", "id,status,summary,opresult")
    return json.loads(done.stdout) if done.status == 0 else None


def _last_job(rig: Rig) -> int:
    rows = eventually("the jobs", lambda: _jobs(rig) or [{"id": 0}], timeout=rig.calms)
    return max(int(str(row["id"])) for row in rows)


def _unfinished(rig: Rig) -> list[object]:
    rows = _jobs(rig)
    if rows is None:
        return ["the master does not answer"]
    return [row["id"] for row in rows if row["status"] not in ENDED]


def _explained(rig: Rig, since: int) -> None:
    """Each job that failed says why."""
    for row in _jobs(rig) or ():
        if int(str(row["id"])) > since and row["status"] == "error":
            said = json.dumps(row["opresult"])
            assert len(said) > 20 and "Traceback" not in said, f"job {row['id']}: {said}"
            _log.info("job %s %s: %s", row["id"], row["summary"], said[:600])


class _Logs:
    """What daemons write from now on."""

    def __init__(self, rig: Rig) -> None:
        self._from = {
            path: path.stat().st_size
            for machine in rig.fleet.machines
            for path in (
                *machine.root.glob("*.err"),
                machine.root / "var/log/gantry/agent.log",
                machine.root / "var/log/gantry/master.log",
            )
            if path.exists()
        }

    def check(self) -> None:
        """There is nothing in it that must not happen."""
        for path, size in self._from.items():
            text = path.read_text(errors="replace")[size:]
            bug = _BUG.search(text)
            assert not bug, f"{path}: {text[bug.start() if bug else 0 :][:3000]}"
