"""A pushed OS definition on a node's disk: in place as a whole, whatever is killed when."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.osdefs.definitions import write
from tests.integration.scripts.bundle_child import die_at

from gantry.agent.bundle_definitions import Definition
from gantry.cli.bundle import directory
from gantry.model.bundle_orders import FileKind
from gantry.model.bundles import BundleFile, digest, entries
from gantry.model.errors import Rejected
from gantry.osdefs import running
from gantry.osdefs.search import Finder

BASE = "srv/ganeti/os"


@pytest.fixture
def root() -> Iterator[Path]:
    """In memory: hundreds of installs write to a disk several times each."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Path(place)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[BundleFile, ...]]:
    """Two versions, each with a file of its own."""
    found = {}
    for words in ("old", "new"):
        place = write(
            tmp_path_factory.mktemp(words),
            scripts={"create": f"echo {words}"},
            files={f"{words}.sh": words},
        )
        (place / "parts/deep").mkdir(parents=True)
        (place / "parts/deep/settings").write_text(words)
        found[words] = directory.read(str(place))
    return found


def definition(root: Path) -> Definition:
    return Definition(root / BASE, "deb")


def install(root: Path, files: tuple[BundleFile, ...], *, replace: bool = False) -> str:
    sha256 = digest(entries(files))
    definition(root).install(sha256, files, replace=replace)
    return sha256


def said(root: Path) -> str | None:
    """What its create would say, as the node finds it; None where it is not valid."""
    facts = Finder(root, (f"/{BASE}",)).lookup("deb")
    if facts is None or not facts.valid:
        return None
    words = (Path(facts.path) / "create").read_text().split()[-1]
    assert (Path(facts.path) / "parts/deep/settings").read_text() in (words, "by hand")
    return words


def kinds(root: Path) -> dict[str, FileKind]:
    found = definition(root).read().files
    return {one.path: one.kind for one in found if one.kind is not FileKind.BUNDLE}


def by_hand(root: Path) -> None:
    place = write(root / BASE, scripts={"create": "echo hand"})
    (place / "parts/deep").mkdir(parents=True)
    (place / "parts/deep/settings").write_text("by hand")


def test_versions_follow_each_other_and_go(
    root: Path, versions: dict[str, tuple[BundleFile, ...]]
) -> None:
    first = install(root, versions["old"])
    assert said(root) == "old"
    names = {place.name for place in (root / BASE / "deb").iterdir()}
    second = install(root, versions["new"])
    assert said(root) == "new"
    assert {place.name for place in (root / BASE / "deb").iterdir()} ^ names == {
        "old.sh",
        "new.sh",
    }
    assert kinds(root) == {}
    definition(root).restore(first, undoing=second)
    assert said(root) == "old"
    definition(root).restore("", undoing="")
    assert said(root) is None
    assert [place.name for place in (root / BASE).iterdir()] == [".bundles"]
    assert Finder(root, (f"/{BASE}",)).find() == ()


async def test_a_script_that_runs_goes_on_with_its_own_version(
    root: Path, versions: dict[str, tuple[BundleFile, ...]], tmp_path: Path
) -> None:
    place = write(tmp_path, scripts={"create": f'cat {root}/go; cat "$(dirname "$0")/words"'})
    (place / "words").write_text("as it began")
    os.mkfifo(root / "go")
    install(root, directory.read(str(place)))
    facts = Finder(root, (f"/{BASE}",)).lookup("deb")
    assert facts is not None
    script = asyncio.create_task(
        running.run(facts, "create", (), environment={"PATH": "/bin:/usr/bin"}, timeout=60)
    )
    go = await asyncio.to_thread((root / "go").open, "w")
    install(root, versions["new"])
    go.close()
    assert (await script).output == "as it began"
    assert said(root) == "new"


def test_one_by_hand_stays_or_is_set_aside_and_comes_back(
    root: Path, versions: dict[str, tuple[BundleFile, ...]]
) -> None:
    by_hand(root)
    with pytest.raises(Rejected, match="put there by hand") as caught:
        install(root, versions["old"])
    assert "--replace" in caught.value.hint
    assert said(root) == "hand"
    assert kinds(root) == {"deb": FileKind.LOCAL}
    sha256 = install(root, versions["old"], replace=True)
    assert said(root) == "old"
    definition(root).restore("", undoing=sha256)
    assert said(root) == "hand"
    sha256 = install(root, versions["old"], replace=True)
    definition(root).restore("", undoing="")
    by_hand(root)
    install(root, versions["old"], replace=True)
    kept = root / BASE / ".bundles/deb/aside"
    assert sorted(place.name for place in kept.iterdir()) == [sha256, f"{sha256}.1"]


def test_drift_is_seen_and_mended(root: Path, versions: dict[str, tuple[BundleFile, ...]]) -> None:
    install(root, versions["old"])
    place = root / BASE / "deb"
    (place / "create").write_text("#!/bin/sh\n")
    (place / "rename").chmod(0o644)
    (place / "old.sh").unlink()
    (place / "parts/more").write_text("")
    (place / "__pycache__").mkdir()
    (place / "__pycache__/x.pyc").write_text("")
    assert kinds(root) == {
        "create": FileKind.CHANGED,
        "rename": FileKind.CHANGED,
        "old.sh": FileKind.MISSING,
        "parts/more": FileKind.ADDED,
    }
    install(root, versions["old"])
    assert (kinds(root), said(root)) == ({}, "old")
    assert not (place / "parts/more").exists()
    place.unlink()
    assert set(kinds(root).values()) == {FileKind.MISSING}
    by_hand(root)
    assert set(kinds(root).values()) == {FileKind.HIDDEN, FileKind.LOCAL}
    install(root, versions["old"], replace=True)
    assert (kinds(root), said(root)) == ({}, "old")


@pytest.mark.parametrize("replace", [False, True])
def test_an_agent_killed_at_any_step_leaves_one_of_them(
    root: Path, versions: dict[str, tuple[BundleFile, ...]], replace: bool
) -> None:
    """``kill -9`` before every single change of the disk; then the next agent looks."""
    seen: set[str | None] = set()
    step, changes = 0, None
    while changes is None:
        place = root / str(step)
        if replace:
            by_hand(place)
        else:
            install(place, versions["old"])
        before = "hand" if replace else "old"
        changes = die_at(step, functools.partial(install, place, versions["new"], replace=replace))
        if not replace:
            assert said(place) in ("old", "new"), step
        definition(place).recover()
        assert said(place) in (before, "new"), step
        seen.add(said(place))
        install(place, versions["new"], replace=replace)
        assert (said(place), kinds(place)) == ("new", {}), step
        step += 1
    assert seen == {before, "new"}
    assert step > 15
