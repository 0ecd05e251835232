"""``gnt-hook test``, ``record``, ``replay`` and ``new``: scripts without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.conftest import Commands, Done
from tests.integration.cli.hook_nodes import HookNodes
from tests.support.hook_runs import failed, order, ran, result

from gantry.agent import configuration
from gantry.agent.configuration import Configuration
from gantry.agent.ledger import Ledger
from gantry.hooks.record import runs_of
from gantry.model.hook_orders import ScriptResult
from gantry.model.hook_runs import HookRun, Origin, ReadHookRuns
from gantry.model.names import Uuid

NODE = "node1.example.com"


def script(directory: Path, text: str, name: str = "20-check", mode: int = 0o755) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


@pytest.fixture
def nodes(gnt: Commands, tmp_path: Path) -> HookNodes:
    return HookNodes(tmp_path / "nodes", gnt.services)


async def tried(gnt: Commands, path: str, *more: str) -> Any:
    return (await gnt("gnt-hook test --json", path, *more)).json


async def test_a_script_that_is_content_ends_with_0(gnt: Commands, tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "$GANETI_INSTANCE_NAME in $GANETI_HOOKS_PHASE"; echo no >&2')
    done = await gnt("gnt-hook test --operation instance-add", path)
    assert done.status == 0
    assert done.out.startswith(
        "script: instance-add-pre.d/20-check, in version 1 of the interface\n"
        "verdict: it is content (ok)\ntook: "
    )
    assert done.out.endswith("stdout:\n  web1.example.com in PRE\nstderr:\n  no\n")


@pytest.mark.parametrize(
    ("text", "more", "verdict", "ending"),
    [
        ("exit 3", (), "denies", "exit 3"),
        ("kill -9 $$", (), "denies", "signal 9"),
        ("exit 3", ("--phase", "post"), "fails", "exit 3"),
        ("exit 3", ("--phase", "fail"), "fails", "exit 3"),
    ],
)
async def test_one_that_is_not_ends_with_1(
    gnt: Commands, tmp_path: Path, text: str, more: tuple[str, ...], verdict: str, ending: str
) -> None:
    path = script(tmp_path, text)
    done = await gnt("gnt-hook test --json --operation instance-add", path, *more)
    assert done.status == 1
    assert (done.json["verdict"], done.json["result"]) == (verdict, ending)


async def test_the_directory_says_what_it_is_for(gnt: Commands, tmp_path: Path) -> None:
    path = script(tmp_path / "instance-stop-post.d", 'echo "$GANETI_OP_ID $GANETI_HOOKS_PHASE"')
    assert (await tried(gnt, path))["stdout"] == "OP_INSTANCE_SHUTDOWN post\n"
    found = await tried(gnt, path, "--hooks-version", "2")
    assert (found["script"], found["version"]) == ("instance-stop-post.d/20-check", 2)
    found = await tried(gnt, path, "--operation", "instance-stop", "--phase", "pre")
    assert (found["script"], found["version"]) == ("instance-shutdown-pre.d/20-check", 1)


async def test_variables_can_be_set(gnt: Commands, tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "$GANETI_INSTANCE_TAGS|$GANETI_FORCE|$GANETI_OTHER"')
    done = await gnt(
        "gnt-hook test --json --operation instance-start",
        *("--set", "INSTANCE_TAGS=a b", "--set", "GANETI_FORCE=True", "--set", "OTHER=x", path),
    )
    assert done.json["stdout"] == "a b|True|x\n"
    assert done.err == "instance-start does not send OTHER: no such variable will be there\n"


@pytest.mark.parametrize("phase", ["pre", "fail"])
async def test_everything_that_it_sees_is_shown(gnt: Commands, tmp_path: Path, phase: str) -> None:
    path = script(tmp_path, "env")
    of = ("--operation", "node-add", "--phase", phase)
    found = await tried(gnt, path, *of, "--show-environment")
    shown = found["environment"]
    seen = dict(line.partition("=")[::2] for line in found["stdout"].splitlines())
    assert shown.keys() == seen.keys() - {"PWD"}
    passing = {"GANTRY_CONTEXT", "GANTRY_VERDICT"}
    assert {name: value for name, value in shown.items() if name not in passing} == {
        name: value for name, value in seen.items() if name not in passing and name != "PWD"
    }
    assert shown["PATH"] == "/sbin:/bin:/usr/sbin:/usr/bin"
    assert shown["GANETI_NODE_NAME"] == "node4.example.com"
    assert "environment" not in (await gnt("gnt-hook test --operation node-add", path)).out


async def test_it_is_run_as_an_agent_would(gnt: Commands, tmp_path: Path) -> None:
    text = """
umask; pwd; readlink /proc/$$/fd/0
cat "$GANETI_DATA_DIR/ssconf_master_node"
grep -o '"requester":"[a-z]*"' "$GANTRY_CONTEXT"
echo '{"message": "all is well", "warnings": ["nearly"]}' > "$GANTRY_VERDICT"
"""
    done = await gnt("gnt-hook test --operation instance-add", script(tmp_path, text))
    assert "message: all is well\nwarning: nearly\n" in done.out
    assert done.out.endswith(
        'stdout:\n  0077\n  /\n  /dev/null\n  node1.example.com\n  "requester":"root"\n'
    )
    assert str(gnt.root) not in done.out


async def test_the_policy_and_what_is_beside_it_count(gnt: Commands, tmp_path: Path) -> None:
    base = tmp_path / "hooks"
    path = script(base / "instance-add-pre.d", '. "${0%/*}/../lib/words"; hello; sleep 30')
    (base / "lib").mkdir()
    (base / "lib/words").write_text("hello() { echo hello; }\n")
    (base / "hooks.toml").write_text('[default]\ntimeout = "0.3s"\n')
    (base / "hooks.toml").chmod(0o644)
    found = await tried(gnt, path)
    assert (found["verdict"], found["result"]) == ("denies", "timeout")
    assert found["stdout"] == "hello\n"
    (base / "hooks.toml").write_text('[script."instance-add-pre.d/20-check"]\nenabled = false\n')
    done = await gnt("gnt-hook test", path)
    assert (done.status, "switched off in hooks.toml" in done.err) == (2, True)


async def test_a_name_that_would_never_run_can_be_tried(gnt: Commands, tmp_path: Path) -> None:
    path = script(tmp_path, "exit 0", "check.sh")
    assert (await tried(gnt, path, "--operation", "instance-add"))["verdict"] == "succeeds"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--operation instance-ad {}", "no operation with hooks"),
        ("{}", "which operation is it for?"),
        ("--operation cluster-verify --phase pre {}", "cluster-verify has no phase pre"),
        ("--operation instance-add --set X {}", "--set X sets nothing"),
        ("--operation instance-add --set 1=2 {}", "not the name of a variable"),
        ("--operation instance-add /no/such/file", "/no/such/file is no file"),
        ("--operation instance-add /tmp", "/tmp is no file"),
        ("/no/such/file", "/no/such/file is no file"),
        ("--operation watcher --phase post {}", "scripts of watcher have no phase"),
        ("--context /no/such/file {}", "No such file"),
        ("--context {} {}", "is no recorded run"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    gnt: Commands, tmp_path: Path, arguments: str, said: str
) -> None:
    path = script(tmp_path, "exit 0")
    done = await gnt(f"gnt-hook test {arguments.replace('{}', path)}")
    assert done.status in (1, 2)
    assert said in done.err
    assert done.out == ""


async def test_one_that_is_not_executable_is_refused(gnt: Commands, tmp_path: Path) -> None:
    path = script(tmp_path, "exit 0", mode=0o644)
    done = await gnt("gnt-hook test --operation instance-add", path)
    assert (done.status, "would not run: it is not executable" in done.err) == (2, True)


async def test_nothing_is_left_behind(
    gnt: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    here = Path.cwd()
    await tried(gnt, script(tmp_path, "exit 1"), "--operation", "instance-add")
    assert list(place.iterdir()) == []
    assert Path.cwd() == here


async def test_a_test_can_be_kept_and_is_marked(gnt: Commands, tmp_path: Path) -> None:
    node = Configuration(
        cluster=Uuid("c"), node=Uuid("n"), name=NODE, host="127.0.0.1", hypervisors=("fake",)
    )
    configuration.write(gnt.root, node)
    found = await tried(gnt, script(tmp_path, "exit 1"), "--operation", "instance-add", "--keep")
    [kept] = Ledger(gnt.root, NODE).page(ReadHookRuns()).runs
    assert (kept.id, kept.origin, kept.node) == (found["run"], Origin.TEST, NODE)
    assert gnt.services.hook_runs.told == [NODE]


async def test_what_cannot_be_kept_is_not_run(gnt: Commands, tmp_path: Path) -> None:
    path = script(tmp_path, f"touch {tmp_path}/ran")
    done = await gnt("gnt-hook test --operation instance-add --keep", path)
    assert (done.status, "the run cannot be kept" in done.err) == (2, True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("directory", ["../../x", "/tmp/x", "", "a/b"])
async def test_a_recording_does_not_lead_elsewhere(
    gnt: Commands, nodes: HookNodes, tmp_path: Path, directory: str
) -> None:
    [one] = gnt.services.hook_runs.runs = recorded(nodes, "a.example.com")
    text = (await gnt(f"gnt-hook record {one.id}")).out
    file = tmp_path / "run.json"
    file.write_text(text.replace("instance-start-pre.d/10-check", f"{directory}/10-check"))
    done = await gnt("gnt-hook replay --script", script(tmp_path, "exit 0"), str(file))
    assert (done.status, "no directory of hooks" in done.err) == (2, True)


def recorded(nodes: HookNodes, *names: str, what: ScriptResult | None = None) -> list[HookRun]:
    """Runs on node 1, each a phase of its own."""
    ledger, ended = Ledger(nodes.roots["node1"], NODE), what or result()
    found: list[HookRun] = []
    for name in names:
        phase = ledger.phase(order(name))
        phase.ended(ended)
        phase.close()
        found += runs_of(order(name), NODE, phase.finished(ran(ended)).results)
    ledger.close()
    return found


async def replayed(gnt: Commands, tmp_path: Path, recording: Done, text: str) -> Done:
    file = tmp_path / "run.json"
    file.write_text(recording.out)
    return await gnt("gnt-hook replay --json --script", script(tmp_path, text), str(file))


async def test_a_recorded_run_is_replayed_with_what_it_was_told(
    gnt: Commands, nodes: HookNodes, tmp_path: Path
) -> None:
    [one] = gnt.services.hook_runs.runs = recorded(nodes, "db7.example.com")
    recording = await gnt(f"gnt-hook record {one.id}")
    assert (recording.status, recording.err) == (0, "")
    file = tmp_path / "other.json"
    done = await gnt(f"gnt-hook record {one.id} --output {file}")
    assert (done.status, done.out, file.read_text()) == (0, "", recording.out)
    assert file.stat().st_mode & 0o077 == 0
    text = 'echo "$GANETI_INSTANCE_NAME $GANTRY_JOB $GANTRY_RUN_ID $GANTRY_ATTEMPT"'
    done = await replayed(gnt, tmp_path, recording, text)
    [said] = done.json
    assert said["stdout"] == "db7.example.com 7 run-7 1\n"
    assert (said["node"], said["recorded"]) == (NODE, "instance-start-pre.d/10-check")
    assert done.status == 0
    path = script(tmp_path, text)
    found = await tried(gnt, path, "--context", str(tmp_path / "run.json"), "--set", "X=1")
    assert found["stdout"] == said["stdout"]
    shown = (await gnt("gnt-hook test --show-environment --json --context",
                       str(tmp_path / "run.json"), path)).json["environment"]  # fmt: skip
    told = order("db7.example.com").environments["2"]
    assert told.items() <= shown.items()


@pytest.mark.parametrize(("directory", "name"), [(".", "hooks.toml"), ("instance-start-pre.d", "")])
async def test_what_kept_scripts_from_running_is_no_run_of_one(
    gnt: Commands, nodes: HookNodes, tmp_path: Path, directory: str, name: str
) -> None:
    """A policy, or a directory, that cannot be read."""
    problem = failed(name, directory=directory, exit_status=None, problem="it cannot be read")
    [policy] = gnt.services.hook_runs.runs = recorded(nodes, "a.example.com", what=problem)
    done = await gnt(f"gnt-hook record {policy.id}")
    assert (done.status, "is no run of a script" in done.err) == (2, True)
    assert (await gnt(f"gnt-hook show {policy.id}")).status == 0
    gnt.services.hook_runs.runs += recorded(nodes, "b.example.com")
    done = await replayed(gnt, tmp_path, await gnt("gnt-hook record 7"), "exit 0")
    assert [said["recorded"] for said in done.json] == ["instance-start-pre.d/10-check"]


async def test_a_job_is_replayed_once_for_each_phase_and_node(
    gnt: Commands, nodes: HookNodes, tmp_path: Path
) -> None:
    runs = recorded(nodes, "a.example.com", "b.example.com")
    gnt.services.hook_runs.runs = runs
    recording = await gnt("gnt-hook record 7")
    assert len(json.loads(recording.out)["runs"]) == 2
    done = await replayed(gnt, tmp_path, recording, "exit 1")
    assert done.status == 1
    assert len(done.json) == 1
    file = str(tmp_path / "run.json")
    done = await gnt("gnt-hook replay --phase post --script", file, file)
    assert (done.status, "no run" in done.err) == (2, True)


async def test_what_a_node_that_is_away_keeps_cannot_be_recorded(
    gnt: Commands, nodes: HookNodes
) -> None:
    [one] = gnt.services.hook_runs.runs = recorded(nodes, "a.example.com")
    nodes.away.add("node1")
    done = await gnt(f"gnt-hook record {one.id}")
    assert (done.status, done.out) == (2, "")
    assert f"is on node {NODE}" in done.err


async def test_a_job_without_runs_cannot_be_recorded(gnt: Commands, nodes: HookNodes) -> None:
    done = await gnt("gnt-hook record 9")
    assert (done.status, done.out) == (2, "")


@pytest.mark.parametrize("language", ["sh", "python"])
@pytest.mark.parametrize("phase", ["pre", "post", "fail"])
async def test_a_new_script_is_in_order_and_runs(
    gnt: Commands, tmp_path: Path, language: str, phase: str
) -> None:
    made = await gnt(
        f"gnt-hook new 20-mine --json --operation instance-modify --phase {phase} "
        f"--language {language} --dir {tmp_path}/hooks"
    )
    path = made.json["path"]
    assert path == f"{tmp_path}/hooks/instance-modify-{phase}.d/20-mine"
    for version in ("1", "2"):
        done = await gnt("gnt-hook test --hooks-version", version, path)
        assert (done.status, done.err) == (0, ""), done
        looked = await gnt(f"gnt-hook lint --strict --hooks-version {version} {tmp_path}/hooks")
        assert looked.status == 0, looked.out
    found = await tried(gnt, path, "--set", "HOOKS_VERSION=3")
    assert found["stderr"] == "20-mine does not know version 3 of the hook interface\n"
    again = await gnt(
        f"gnt-hook new 20-mine --operation instance-modify --phase {phase} --dir {tmp_path}/hooks"
    )
    assert (again.status, "is there already" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("check.sh --operation instance-add --phase pre", "would never run"),
        ("../x --operation instance-add --phase pre", "would never run"),
        ("20-a --operation nonsense --phase pre", "no operation with hooks"),
        ("20-a --operation cluster-verify --phase pre", "has no phase pre"),
        ("20-a --operation watcher --phase pre", "scripts of watcher have no phase"),
        ("20-a --operation instance-add", "when is it to run?"),
    ],
)
async def test_no_script_is_begun_that_would_never_run(
    gnt: Commands, tmp_path: Path, arguments: str, said: str
) -> None:
    done = await gnt(f"gnt-hook new {arguments} --dir {tmp_path}/hooks")
    assert done.status == 2
    assert said in done.err
    assert not (tmp_path / "hooks").exists()


@pytest.mark.parametrize("language", ["sh", "python"])
async def test_a_new_script_of_the_watcher_is_in_order_and_runs(
    gnt: Commands, tmp_path: Path, language: str
) -> None:
    made = await gnt(
        f"gnt-hook new 20-mine --json --operation watcher --language {language} "
        f"--dir {tmp_path}/hooks"
    )
    assert (made.status, made.json) == (0, {"path": f"{tmp_path}/hooks/watcher/20-mine"}), made
    done = await gnt("gnt-hook test", made.json["path"])
    assert (done.status, done.err) == (0, ""), done
    looked = await gnt(f"gnt-hook lint --strict {tmp_path}/hooks")
    assert looked.status == 0, looked.out


async def test_a_script_of_the_watcher_is_told_as_little_as_by_an_agent(
    gnt: Commands, tmp_path: Path
) -> None:
    path = script(tmp_path / "watcher", "env | sort")
    for more in ((), ("--operation", "watcher")):
        found = await tried(gnt, path, "--show-environment", *more)
        names = {"PATH", "LC_ALL", "GANTRY_ROOT", "GANTRY_RUN_ID"}
        assert found["environment"].keys() == names
        seen = {line.partition("=")[0] for line in found["stdout"].splitlines()}
        assert seen - {"PWD"} == names
    failed = await gnt("gnt-hook test", script(tmp_path / "watcher", "exit 3", "30-a"))
    assert (failed.status, "it failed (exit 3), which is noted in the log" in failed.out) == (
        1,
        True,
    )
