"""What a script reads in the file GANTRY_CONTEXT, and what it may write to GANTRY_VERDICT."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tests.integration.scripts.conftest import Hooks
from tests.integration.scripts.test_policy import ROOT, policy
from tests.support.small_files import no_files_above

from gantry.host import hook_exchange
from gantry.model.errors import OperationFailed
from gantry.model.orders import ScriptResult, ScriptStatus

CONTEXT = b'{"version":1,"phase":"pre"}'


@pytest.fixture
def hooks(both: Hooks) -> Hooks:
    return both


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "run/gantry/hooks"


async def run(
    hooks: Hooks, place: Path, context: bytes = CONTEXT, run_id: str = "run"
) -> tuple[ScriptResult, ...]:
    order = msgspec.structs.replace(hooks.order(), context=msgspec.Raw(context), run_id=run_id)
    return await hooks.carried_out(order, exchange=place)


async def verdict_of(hooks: Hooks, place: Path, text: str) -> ScriptResult:
    hooks.script("10-a", text)
    [result] = await run(hooks, place)
    return result


async def test_a_script_reads_the_context_with_its_own_deadline(hooks: Hooks, place: Path) -> None:
    policy(hooks, '[pattern."*/20-b"]\ntimeout = 30\n')
    for name in ("10-a", "20-b"):
        hooks.script(name, 'cat "$GANTRY_CONTEXT"')
    before = time.time()
    results = await run(hooks, place)
    for result, timeout in zip(results, (600, 30), strict=True):
        document = json.loads(result.output)
        deadline = document.pop("deadline")
        assert before + timeout - 1 <= deadline <= time.time() + timeout
        assert document == json.loads(CONTEXT)


async def test_an_empty_context_is_one_too(hooks: Hooks, place: Path) -> None:
    hooks.script("10-a", 'cat "$GANTRY_CONTEXT"')
    [result] = await run(hooks, place, b"{}")
    assert list(json.loads(result.output)) == ["deadline"]


async def test_the_files_are_gone_after_the_run(hooks: Hooks, place: Path) -> None:
    hooks.script("10-a", 'echo "$GANTRY_CONTEXT $GANTRY_VERDICT"; echo {} > "$GANTRY_VERDICT"')
    [result] = await run(hooks, place)
    for path in result.output.split():
        assert path.startswith(str(place)) and not Path(path).exists()
    assert list(place.iterdir()) == []


async def test_nobody_else_can_read_them(hooks: Hooks, place: Path) -> None:
    hooks.script("10-a", 'stat -c %a "$GANTRY_CONTEXT" "${GANTRY_CONTEXT%/*}"')
    [result] = await run(hooks, place)
    assert result.output.split() == ["600", "700"]


async def test_a_verdict_has_a_message_and_warnings(hooks: Hooks, place: Path) -> None:
    text = """echo '{"message": "ask Alice", "warnings": ["a", "b"]}' > "$GANTRY_VERDICT"; exit 1"""
    result = await verdict_of(hooks, place, text)
    assert (result.message, result.warnings) == ("ask Alice", ("a", "b"))
    assert result.status is ScriptStatus.FAILED


async def test_each_script_has_a_verdict_of_its_own(hooks: Hooks, place: Path) -> None:
    hooks.script("10-a", """echo '{"message": "mine"}' > "$GANTRY_VERDICT" """)
    hooks.script("20-b", '[ ! -e "$GANTRY_VERDICT" ]')
    first, second = await run(hooks, place)
    assert (first.message, second.message) == ("mine", "")
    assert second.status is ScriptStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('echo rubbish > "$GANTRY_VERDICT"', "it is not JSON"),
        ("printf '\\377\\376' > \"$GANTRY_VERDICT\"", "it is not JSON"),
        ('echo 5 > "$GANTRY_VERDICT"', "it is no JSON object"),
        ("""echo '{"message": 5}' > "$GANTRY_VERDICT" """, "its message is no text"),
        ("""echo '{"warnings": "x"}' > "$GANTRY_VERDICT" """, "its warnings are no list"),
        ("""echo '{"warnings": [1]}' > "$GANTRY_VERDICT" """, "its warnings are no list"),
        ('head -c 70000 /dev/zero > "$GANTRY_VERDICT"', "it is longer than 64 KiB"),
        ("printf '[%.0s' $(seq 60000) > \"$GANTRY_VERDICT\"", "it is not JSON"),
        ('mkdir "$GANTRY_VERDICT"', "it is no file"),
        ('mkfifo "$GANTRY_VERDICT"', "it is no file"),
        ('ln -s /etc/passwd "$GANTRY_VERDICT"', "Too many levels of symbolic links"),
    ],
)
async def test_rubbish_is_a_warning_and_nothing_else(
    hooks: Hooks, place: Path, text: str, why: str
) -> None:
    result = await verdict_of(hooks, place, text)
    [warning] = result.warnings
    assert warning.startswith(f"what it wrote to GANTRY_VERDICT was not read: {why}")
    assert (result.status, result.message) == (ScriptStatus.SUCCEEDED, "")


@pytest.mark.parametrize("text", ["", '> "$GANTRY_VERDICT"', 'echo {} > "$GANTRY_VERDICT"'])
async def test_an_empty_verdict_says_nothing(hooks: Hooks, place: Path, text: str) -> None:
    result = await verdict_of(hooks, place, text)
    assert (result.message, result.warnings) == ("", ())


async def test_a_long_verdict_is_cut(hooks: Hooks, place: Path) -> None:
    text = """{ printf '{"message": "'; head -c 50000 /dev/zero | tr '\\0' x; printf '"}'; } \
> "$GANTRY_VERDICT" """
    assert len((await verdict_of(hooks, place, text)).message) == 2000


async def test_verdicts_of_many_scripts_are_no_more_than_an_answer_holds(
    hooks: Hooks, place: Path
) -> None:
    warnings = json.dumps({"warnings": ["x" * 2000] * 20})
    for number in range(10):
        hooks.script(f"{number}0-a", f"echo '{warnings}' > \"$GANTRY_VERDICT\"")
    found = [one.warnings for one in await run(hooks, place)]
    assert sum(len(text) for one in found for text in one) < 300_000
    assert [len(one) for one in found] == [20] * 6 + [1] * 4
    assert found[-1][0].startswith("what it wrote to GANTRY_VERDICT is left out:")


async def test_a_script_may_remove_the_directory(hooks: Hooks, place: Path) -> None:
    hooks.script("10-a", 'rm -r "${GANTRY_CONTEXT%/*}"')
    hooks.script("20-b", "exit 0")
    results = await run(hooks, place)
    assert [one.status for one in results] == [ScriptStatus.SUCCEEDED] * 2


DEEP = """cd "${GANTRY_VERDICT%/*}" && "$PYTHON" -c '
import os
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
'"""


async def test_directories_deeper_than_a_recursion_hold_nothing_up(
    hooks: Hooks, place: Path
) -> None:
    hooks.script("10-a", DEEP.replace("$PYTHON", sys.executable))
    for _ in range(2):
        [result] = await run(hooks, place)
        assert result.status is ScriptStatus.SUCCEEDED, result
        assert list(place.iterdir()) == []


async def test_what_cannot_be_removed_keeps_no_repeat_from_running(
    hooks: Hooks, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks.script("10-a", 'echo "$GANTRY_VERDICT"; echo \'{"message": "mine"}\' > "$GANTRY_VERDICT"')
    monkeypatch.setattr(hook_exchange, "clear", lambda directory: None)
    [first] = await run(hooks, place)
    [second] = await run(hooks, place)
    assert (second.message, second.output) == ("mine", first.output)
    monkeypatch.undo()
    hook_exchange.clear(str(place))
    assert not place.exists()


SEEN = 'stat -c "%i %a" "${GANTRY_CONTEXT%/*}"; ls "${GANTRY_CONTEXT%/*}"'


async def test_a_directory_in_which_nothing_was_left_is_the_next_runs(
    hooks: Hooks, place: Path
) -> None:
    hooks.script("10-a", SEEN)
    seen = [(await run(hooks, place))[0].output for _ in range(2)]
    assert seen[0] == seen[1]
    [left] = place.iterdir()
    assert [one.name for one in left.iterdir()] == ["context.json"]


async def test_its_document_is_the_next_runs_with_nothing_of_what_it_said(
    hooks: Hooks, place: Path
) -> None:
    hooks.script("10-a", 'stat -c %i "$GANTRY_CONTEXT"; cat "$GANTRY_CONTEXT"')
    long = b'{"phase":"pre","names":["%s"]}' % (b"x" * 5000)
    found = []
    for turn, context in enumerate((long, CONTEXT, long)):
        [result] = await run(hooks, place, context, run_id=str(turn))
        inode, document = result.output.splitlines()
        document = json.loads(document)
        assert document.pop("deadline") > time.time()
        assert document == json.loads(context)
        found.append(inode)
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "what",
    [
        'ln "$GANTRY_CONTEXT" ../../kept',
        'exec 9<"$GANTRY_CONTEXT"; { read -r line < ../../go; cat <&9 > ../../kept; } &',
        'chmod 644 "$GANTRY_CONTEXT"',
        'rm "$GANTRY_CONTEXT"; ln -s ../../kept "$GANTRY_CONTEXT"',
        'rm "$GANTRY_CONTEXT"; mkfifo -m 600 "$GANTRY_CONTEXT"',
        'rm "$GANTRY_CONTEXT"; mkdir "$GANTRY_CONTEXT"; touch "$GANTRY_CONTEXT/mine"',
    ],
)
async def test_a_document_that_a_script_may_still_have_is_not_the_next_runs(
    hooks: Hooks, place: Path, what: str
) -> None:
    above = place.parent
    above.mkdir(parents=True)
    os.mkfifo(above / "go")
    hooks.script("10-a", f'cd "${{GANTRY_CONTEXT%/*}}" && {what}')
    [result] = await run(hooks, place, b'{"turn":1}', run_id="one")
    assert result.status is ScriptStatus.SUCCEEDED, result.output
    tell = f"echo now > {above}/go; " if "go" in what else ""
    hooks.script("10-a", f'{tell}stat -c "%a %F" "$GANTRY_CONTEXT"; cat "$GANTRY_CONTEXT"')
    [result] = await run(hooks, place, b'{"turn":2}', run_id="another")
    kind, document = result.output.splitlines()
    assert (kind, json.loads(document)["turn"]) == ("600 regular file", 2)
    if " ../../kept" in what and "-s" not in what:
        until = time.monotonic() + 20
        while not (kept := above / "kept").exists() or not kept.read_text():
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        assert json.loads(kept.read_text())["turn"] == 1
    else:
        assert not (above / "kept").exists()


async def test_it_is_as_new_whatever_was_put_there_meanwhile(hooks: Hooks, place: Path) -> None:
    hooks.script("10-a", f'echo "${{GANTRY_VERDICT##*/}}"; {SEEN}')
    [first] = await run(hooks, place)
    [left] = place.iterdir()
    (left / first.output.split()[0]).write_text('{"message": "of another run"}')
    left.chmod(0o777)
    [result] = await run(hooks, place)
    assert result.message == ""
    assert result.output.split()[2:] == ["700", "context.json"]


LATE = """cd "${GANTRY_VERDICT%/*}" && mkfifo ../../go ../../gone
{ read -r line < ../../go; echo '{"message": "of another run"}' > "${GANTRY_VERDICT##*/}"
echo now > ../../gone; } &
"""


async def test_a_verdict_that_comes_late_is_not_that_of_the_next_run(
    hooks: Hooks, place: Path
) -> None:
    """What a script leaves in the background may be in the directory that the next run has."""
    hooks.script("10-a", LATE)
    await run(hooks, place)
    [left] = place.iterdir()
    assert [one.name for one in left.iterdir()] == ["context.json"]
    way = place.parent
    text = f'echo now > {way}/go; read -r line < {way}/gone; ls "${{GANTRY_CONTEXT%/*}}"'
    hooks.script("10-a", text)
    [result] = await run(hooks, place, run_id="another")
    assert result.message == ""
    # That it is the same directory, and what was written is there.
    assert len(result.output.split()) == 2
    assert list(place.iterdir()) == []


async def test_two_phases_at_once_have_a_directory_each(hooks: Hooks, place: Path) -> None:
    hooks.script("10-a", 'echo "$GANTRY_CONTEXT"; ls "${GANTRY_CONTEXT%/*}"; sleep 0.01')
    for turn in range(5):
        both = await asyncio.gather(*(run(hooks, place, run_id=f"{turn}-{i}") for i in range(4)))
        told = [one.output.split() for [one] in both]
        assert len({path for path, _ in told}) == 4
        assert {name for _, name in told} == {"context.json"}
        [left] = place.iterdir()
        assert [one.name for one in left.iterdir()] == ["context.json"]


async def test_of_two_phases_at_once_neither_takes_long_to_clear_up(
    hooks: Hooks, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared = list[Path]()
    monkeypatch.setattr(hook_exchange, "clear", cleared.append)
    met = place.parent
    met.mkdir(parents=True)
    hooks.script(
        "10-a", f"touch {met}/$$; while [ $(ls {met} | wc -l) -lt 3 ]; do sleep 0.01; done"
    )
    results = await asyncio.gather(*(run(hooks, place, run_id=name) for name in ("one", "two")))
    assert {one.status for [one] in results} == {ScriptStatus.SUCCEEDED}
    assert cleared == []
    [left] = place.iterdir()
    assert [one.name for one in left.iterdir()] == ["context.json"]


async def test_a_link_in_the_place_of_what_was_left_leads_nobody_elsewhere(
    hooks: Hooks, place: Path
) -> None:
    hooks.script("10-a", "exit 0")
    await run(hooks, place)
    other = place.parent / "other"
    other.mkdir(0o755)
    (place / "empty").rename(place.parent / "aside")
    (place / "empty").symlink_to(other)
    [result] = await run(hooks, place, run_id="another")
    assert result.status is ScriptStatus.SUCCEEDED
    assert other.stat().st_mode & 0o777 == 0o755
    assert list(other.iterdir()) == []


async def test_a_directory_in_which_something_was_left_is_nobody_elses(
    hooks: Hooks, place: Path
) -> None:
    hooks.script("10-a", 'touch "${GANTRY_CONTEXT%/*}/mine"')
    await run(hooks, place)
    assert list(place.iterdir()) == []


async def test_where_there_is_no_room_for_them_no_script_runs_and_the_place_is_named(
    hooks: Hooks, place: Path
) -> None:
    hooks.script("10-a", "exit 0")
    place.parent.parent.mkdir()
    place.parent.write_text("in the way")
    with pytest.raises(OperationFailed, match=f"no directory {place}/run-.*: Not a directory"):
        await run(hooks, place)


@pytest.mark.parametrize("user", ["", pytest.param("nobody", marks=ROOT)])
async def test_where_there_is_no_room_for_the_document_each_script_says_so(
    hooks_for_all: Hooks, user: str
) -> None:
    hooks, place = hooks_for_all, hooks_for_all.base.parent / "run/gantry/hooks"
    if user:
        policy(hooks, f'[default]\nrun-as = "{user}"\n')
    for name in ("10-a", "20-b", "30-c"):
        hooks.script(name, "exit 0").parent.chmod(0o755)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with no_files_above(50_000):
        results = await run(hooks, place, b'{"x":"%s"}' % (b"x" * 100_000))
    assert {one.status for one in results} == {ScriptStatus.FAILED}
    why = "cannot be executed: no file for what it is told: File too large"
    assert [one.problem for one in results] == [why] * 3
    assert len(list(Path("/proc/self/fd").iterdir())) == opened
    [left] = place.iterdir()
    assert list(left.iterdir()) == []


@ROOT
async def test_another_user_has_files_of_his_own(hooks_for_all: Hooks) -> None:
    hooks, place = hooks_for_all, hooks_for_all.base.parent / "run/gantry/hooks"
    policy(hooks, '[pattern."*/2*"]\nrun-as = "nobody"\n')
    hooks.script("10-root", "exit 0").parent.chmod(0o755)
    hooks.script(
        "20-nobody",
        """cat "$GANTRY_CONTEXT"; echo '{"message": "mine"}' > "$GANTRY_VERDICT"
for one in "${GANTRY_CONTEXT%/*/*}"/*; do echo "saw $one"; done
ln -s /etc/shadow "${GANTRY_VERDICT%-*}-2.json"; rm "$GANTRY_CONTEXT"
ln -s /etc/passwd "$GANTRY_CONTEXT" """,
    )
    hooks.script("21-nobody", 'ls "$GANTRY_CONTEXT"')
    passwd = Path("/etc/passwd").read_bytes()
    _, first, second = await run(hooks, place)
    assert json.loads(first.output.splitlines()[0])["phase"] == "pre"
    assert first.message == "mine"
    # He cannot see what else is there, and his link leads us nowhere.
    assert "saw " in first.output and first.output.rstrip().endswith("*")
    assert second.status is ScriptStatus.SUCCEEDED
    [warning] = second.warnings
    assert "symbolic link" in warning
    assert Path("/etc/passwd").read_bytes() == passwd
    assert list(place.iterdir()) == []
