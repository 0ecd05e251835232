"""A bundle on a node's disk: installed as a whole, beside what was put there by hand."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.scripts.bundle_child import bundle, install_and_die, sha256
from tests.support.small_files import no_files_above

from gantry.agent.bundle_hooks import HookBundles
from gantry.host.scripts import listing
from gantry.model.bundle_orders import FileKind
from gantry.model.bundles import BundleFile, check, digest, entries
from gantry.model.errors import Rejected
from gantry.model.orders import HookDirectory, HooksRun

ADD = "instance-add-pre.d"
OLD = [f"{ADD}/10-both", f"{ADD}/20-old", f"{ADD}/30-both", "old-only.d/10-x", "site/settings"]
NEW = [
    *(f"{ADD}/{name}" for name in ("10-both", "20-new", "30-both")),
    *("hooks.toml", "new-only.d/10-x", "site/settings"),
]


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    return tmp_path / "etc/ganeti/hooks"


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory: a thousand installs write to a disk several times each."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Path(place)


def install(hooks: Path, words: str, *, replace: bool = False) -> None:
    HookBundles(hooks).install(sha256(words), bundle(words), replace=replace)


def by_hand(hooks: Path, path: str, text: str = "#!/bin/sh\necho by hand\n") -> Path:
    place = hooks / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


def runs(hooks: Path, *directories: str) -> dict[str, str]:
    """What a phase would run now, by name: what each script would say."""
    order = HooksRun(
        directories=tuple(HookDirectory(name=name, version=1) for name in directories or (ADD,)),
        environments={"1": {}},
        main_version=1,
        job=1,
        run_id="run",
        attempt=1,
    )
    return {
        script.name: Path(script.path).read_text().partition("echo ")[2].strip()
        for script in listing(hooks, order)
        if not script.skip
    }


def said(words: str) -> dict[str, str]:
    """What the scripts of that bundle say."""
    return {name: f"{words} {name}" for name in ("10-both", f"20-{words}", "30-both")}


def kinds(hooks: Path) -> dict[str, FileKind]:
    return {one.path: one.kind for one in HookBundles(hooks).read().files}


def test_nothing_is_installed_where_nothing_was_pushed(hooks: Path) -> None:
    HookBundles(hooks).recover()
    assert not hooks.exists()
    assert HookBundles(hooks).current() == ""
    assert HookBundles(hooks).read().files == ()


def test_a_bundle_is_installed_and_followed_by_another(hooks: Path) -> None:
    for words, files in (("old", OLD), ("new", NEW)):
        install(hooks, words)
        assert HookBundles(hooks).current() == sha256(words)
        assert runs(hooks) == said(words)
        assert kinds(hooks) == dict.fromkeys(files, FileKind.BUNDLE)
    assert not (hooks / "old-only.d").exists()
    assert (hooks / "site/settings").read_text() == "new"
    assert (hooks / "site/settings").stat().st_mode & 0o777 == 0o600


def test_modes_do_not_depend_on_the_umask(hooks: Path) -> None:
    before = os.umask(0o077)
    try:
        install(hooks, "old")
    finally:
        os.umask(before)
    script = hooks / ADD / "10-both"
    assert script.stat().st_mode & 0o777 == 0o755
    places = [*script.resolve().parents][: len(script.resolve().relative_to(hooks).parents)]
    assert all(place.stat().st_mode & 0o777 == 0o755 for place in places)


def test_what_was_put_there_by_hand_goes_on_working(hooks: Path) -> None:
    by_hand(hooks, f"{ADD}/15-local")
    by_hand(hooks, "old-only.d/90-local")
    install(hooks, "old")
    assert runs(hooks) == {**said("old"), "15-local": "by hand"}
    install(hooks, "new")
    assert runs(hooks) == {**said("new"), "15-local": "by hand"}
    assert runs(hooks, "old-only.d") == {"90-local": "by hand"}
    assert kinds(hooks)[f"{ADD}/15-local"] is FileKind.LOCAL


@pytest.mark.parametrize("words", ["old", "new"])
def test_a_local_file_of_the_same_name_is_refused_and_nothing_is_done(
    hooks: Path, words: str
) -> None:
    install(hooks, "old")
    before = kinds(hooks)
    if words == "old":
        (hooks / ADD / "10-both").unlink()
        by_hand(hooks, f"{ADD}/10-both")
    else:
        by_hand(hooks, f"{ADD}/20-new")
    with pytest.raises(Rejected, match="put there by hand") as caught:
        install(hooks, words)
    assert "--replace" in caught.value.hint
    assert HookBundles(hooks).current() == sha256("old")
    assert before.keys() <= kinds(hooks).keys()


def test_a_local_file_is_set_aside_where_asked_and_comes_back_with_the_undo(hooks: Path) -> None:
    by_hand(hooks, f"{ADD}/10-both")
    install(hooks, "old", replace=True)
    assert runs(hooks) == said("old")
    HookBundles(hooks).restore("", undoing=sha256("old"))
    assert runs(hooks) == {"10-both": "by hand"}
    assert HookBundles(hooks).current() == ""


@pytest.mark.parametrize("there", ["directory", "file above", "link above"])
def test_what_cannot_be_set_aside_is_refused(hooks: Path, tmp_path: Path, there: str) -> None:
    hooks.mkdir(parents=True)
    if there == "directory":
        (hooks / ADD / "10-both").mkdir(parents=True)
    elif there == "file above":
        (hooks / ADD).write_text("")
    else:
        (tmp_path / "elsewhere").mkdir()
        (hooks / ADD).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Rejected, match="director"):
        install(hooks, "old", replace=True)
    assert HookBundles(hooks).current() == ""
    assert not list(tmp_path.glob("elsewhere/*"))


def test_going_back_needs_nothing_but_what_is_there(hooks: Path) -> None:
    install(hooks, "old")
    install(hooks, "new")
    HookBundles(hooks).restore(sha256("old"), undoing=sha256("new"))
    assert runs(hooks) == said("old")
    HookBundles(hooks).restore(sha256("old"), undoing="")
    HookBundles(hooks).restore("", undoing="")
    assert [place.name for place in hooks.iterdir()] == [".bundles"]
    with pytest.raises(Rejected, match="not on this node"):
        HookBundles(hooks).restore("0" * 64, undoing="")


def test_drift_is_seen_and_mended_by_pushing_again(hooks: Path) -> None:
    install(hooks, "old")
    script = hooks / ADD / "10-both"
    script.write_text("#!/bin/sh\necho changed\n")
    (hooks / ADD / "20-old").resolve().chmod(0o644)
    (hooks / "old-only.d/10-x").unlink()
    (hooks / ADD / "30-both").unlink()
    by_hand(hooks, f"{ADD}/30-both")
    assert kinds(hooks) == {
        f"{ADD}/10-both": FileKind.CHANGED,
        f"{ADD}/20-old": FileKind.CHANGED,
        f"{ADD}/30-both": FileKind.LOCAL,
        "old-only.d/10-x": FileKind.MISSING,
        "site/settings": FileKind.BUNDLE,
    }
    install(hooks, "old", replace=True)
    assert runs(hooks) == said("old")
    assert set(kinds(hooks).values()) == {FileKind.BUNDLE}


def test_a_policy_comes_and_goes_and_never_leads_nowhere(memory: Path) -> None:
    """Also where it is the old bundle that has one; see the last test for the other way."""
    step, changes = 0, None
    while changes is None:
        hooks = memory / str(step)
        install(hooks, "policed")
        changes = install_and_die(hooks, "old", step, replace=False)
        policy = hooks / "hooks.toml"
        assert not policy.is_symlink() or policy.exists(), step
        HookBundles(hooks).recover()
        assert policy.exists() is (HookBundles(hooks).current() == sha256("policed"))
        step += 1


def test_old_bundles_are_removed_after_a_while(hooks: Path) -> None:
    for number in range(9):
        files = check([BundleFile(path="f", mode=0o644, content=str(number).encode())])
        HookBundles(hooks).install(digest(entries(files)), files, replace=False)
    own = hooks / ".bundles"
    unpacked = [place for place in own.iterdir() if place.is_dir() and not place.is_symlink()]
    assert len(unpacked) == 6
    assert len(list(own.glob("*.json"))) == 6
    assert (hooks / "f").read_text() == "8"


@pytest.mark.parametrize("replace", [False, True])
def test_an_agent_killed_at_any_step_leaves_the_old_or_the_new_bundle(
    memory: Path, replace: bool
) -> None:
    """``kill -9`` before every single change of the disk; then the next agent looks."""
    seen, step, changes = set(), 0, None
    while changes is None:
        hooks = memory / str(step)
        install(hooks, "old")
        local = f"{ADD}/20-new" if replace else f"{ADD}/15-local"
        by_hand(hooks, local)
        changes = install_and_die(hooks, "new", step, replace=replace)
        before_recovery = HookBundles(hooks).current()
        # Before anybody looks after it: a policy that leads nowhere denies everything.
        assert not (hooks / "hooks.toml").is_symlink() or (hooks / "hooks.toml").exists(), step
        HookBundles(hooks).recover()
        found = runs(hooks)
        hand = {Path(local).name: "by hand"}
        now_new = said("new") if replace else {**said("new"), **hand}
        if HookBundles(hooks).current() == sha256("old"):
            assert found == {**said("old"), **hand}, step
            assert {path: kind for path, kind in kinds(hooks).items() if path != local} == (
                dict.fromkeys(OLD, FileKind.BUNDLE)
            )
        else:
            assert found == now_new, step
            assert set(kinds(hooks)) == {*NEW, local}
        assert before_recovery == HookBundles(hooks).current()
        assert not list((hooks / ".bundles").glob(".new-*"))
        assert not (hooks / ".bundles/pending").exists()
        seen.add(HookBundles(hooks).current())
        install(hooks, "new", replace=replace)
        assert runs(hooks) == now_new
        step += 1
    assert seen == {sha256("old"), sha256("new")}
    assert step == changes + 1
    assert step > 20


def test_a_full_disk_leaves_the_old_bundle(hooks: Path) -> None:
    install(hooks, "old")
    large = check([BundleFile(path="large", mode=0o644, content=b"x" * 100_000)])
    with no_files_above(50_000), pytest.raises(OSError, match="File too large"):
        HookBundles(hooks).install(digest(entries(large)), large, replace=False)
    assert runs(hooks) == said("old")
    assert HookBundles(hooks).current() == sha256("old")
    assert not list((hooks / ".bundles").glob(".new-*"))
