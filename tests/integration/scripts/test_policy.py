"""Scripts run as the node's ``hooks.toml`` says, or not at all where it cannot be followed."""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import PRE, Hooks

from gantry.hooks.policy import FILE
from gantry.host import accounts, hook_policy
from gantry.host.scripts import run_hooks
from gantry.model import timeouts
from gantry.model.orders import ScriptStatus

FAILED, SKIPPED, SUCCEEDED = ScriptStatus.FAILED, ScriptStatus.SKIPPED, ScriptStatus.SUCCEEDED
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


def policy(hooks: Hooks, text: str) -> Path:
    path = hooks.base / FILE
    path.write_text(text)
    path.chmod(0o644)
    return path


async def test_a_script_has_the_time_that_the_policy_gives(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "KILL_GRACE", 0.1)
    policy(hooks, f'[script."{PRE}/10-slow"]\ntimeout = 0.3\n')
    hooks.script("10-slow", "sleep 1000")
    hooks.script("20-other", "exit 0")
    slow, other = (await run_hooks(hooks.base, hooks.order(), {})).results
    assert (slow.status, slow.timed_out, slow.timeout) == (FAILED, True, 0.3)
    assert slow.problem == "took longer than 0.3 s and was ended"
    assert (other.status, other.timeout) == (SUCCEEDED, timeouts.HOOK_SCRIPT)


async def test_a_script_that_is_switched_off_is_skipped(hooks: Hooks) -> None:
    policy(hooks, f'[directory."{PRE}"]\nenabled = false\n')
    hooks.script("10-a", "exit 1")
    [result] = await hooks.run()
    assert (result.status, result.problem) == (SKIPPED, "it is switched off in hooks.toml")


async def test_a_script_runs_in_the_version_of_the_policy(hooks: Hooks) -> None:
    policy(hooks, f'[script."{PRE}/10-old"]\nversion = 1\n')
    for name in ("10-old", "20-new"):
        hooks.script(name, 'echo "$GANETI_HOOKS_VERSION"')
    order = hooks.order((PRE, 2), ("instance-shutdown-pre.d", 1))
    results = (await run_hooks(hooks.base, order, {})).results
    assert [(one.output, one.version) for one in results] == [("1\n", 1), ("2\n", 2)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[default]\ntiemout = 5\n", "hooks.toml line 2: there is no key 'tiemout'"),
        ("[default\n", "hooks.toml line 1: it is not TOML"),
    ],
)
async def test_where_the_policy_is_wrong_no_script_runs_and_that_is_a_failure(
    hooks: Hooks, tmp_path: Path, text: str, why: str
) -> None:
    policy(hooks, text)
    hooks.script("10-a", f"touch {tmp_path}/ran")
    problem, left_out = await hooks.run()
    assert (problem.directory, problem.script, problem.status) == (".", FILE, FAILED)
    assert problem.problem.startswith(why)
    assert (left_out.status, left_out.problem) == (SKIPPED, "hooks.toml cannot be followed")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
async def test_a_policy_that_others_may_write_is_not_followed(hooks: Hooks, mode: int) -> None:
    policy(hooks, "").chmod(mode)
    hooks.script("10-a")
    problem, _ = await hooks.run()
    assert "chmod go-w" in problem.problem


@ROOT
async def test_a_policy_that_another_user_owns_is_not_followed(hooks: Hooks) -> None:
    os.chown(policy(hooks, ""), 65534, 0)
    hooks.script("10-a")
    problem, _ = await hooks.run()
    assert "chown it to root" in problem.problem


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling", "loop"])
async def test_what_is_no_file_is_not_followed(hooks: Hooks, kind: str) -> None:
    path = hooks.base / FILE
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "dangling":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to(path)
    hooks.script("10-a", "exit 0")
    problem, _ = await hooks.run()
    assert problem.status is FAILED


async def test_a_wrong_policy_where_nothing_would_run_is_no_failure(hooks: Hooks) -> None:
    policy(hooks, "[default\n")
    assert await hooks.run() == ()


async def test_a_change_of_the_policy_is_seen_at_once(hooks: Hooks) -> None:
    hooks.script("10-a", "exit 0")
    for text, status in (("", SUCCEEDED), ("[default]\nenabled=false", SKIPPED), ("", SUCCEEDED)):
        policy(hooks, text)
        [result] = await hooks.run()
        assert result.status is status


async def test_all_that_is_wrong_with_the_file_is_found(hooks: Hooks) -> None:
    assert hook_policy.findings(hooks.base) == ()
    policy(hooks, "[default]\nx = 1\ny = 2\n").chmod(0o666)
    assert [one.line for one in hook_policy.findings(hooks.base)] == [0, 2, 3]


async def test_a_script_of_our_own_user_needs_nothing_else(hooks: Hooks) -> None:
    policy(hooks, f'[default]\nrun-as = "{pwd.getpwuid(os.geteuid()).pw_name}"\n')
    hooks.script("10-a", "id -u")
    assert (await hooks.only()).output == f"{os.geteuid()}\n"


async def test_a_user_who_does_not_exist_is_a_failure(hooks: Hooks, tmp_path: Path) -> None:
    policy(hooks, '[default]\nrun-as = "no-such-user"\n')
    hooks.script("10-a", f"touch {tmp_path}/ran")
    result = await hooks.only()
    assert result.problem == "cannot be executed: there is no user no-such-user on this node"
    assert result.status is FAILED and not (tmp_path / "ran").exists()


@pytest.fixture
def open_hooks(hooks_for_all: Hooks) -> Hooks:
    """Hooks that another user can get at, and runs."""
    policy(hooks_for_all, '[default]\nrun-as = "nobody"\n')
    hooks_for_all.script("10-a", "exit 0").parent.chmod(0o755)
    return hooks_for_all


PROBE = """id -u; id -g; id -G; umask; pwd; echo $#; env | sort
grep -E '^(CapEff|CapInh|NoNewPrivs)' /proc/self/status | tr -d '\\t'
echo to stderr > /dev/stderr
"""


@ROOT
async def test_a_script_runs_as_another_user_and_is_told_the_same(open_hooks: Hooks) -> None:
    open_hooks.script("10-a", PROBE)
    result = await open_hooks.only()
    who = pwd.getpwnam("nobody")
    lines = result.output.splitlines()
    assert lines[:3] == [str(who.pw_uid), str(who.pw_gid), str(who.pw_gid)]
    assert lines[5] == "0"
    assert "CapEff:0000000000000000" in lines and "CapInh:0000000000000000" in lines
    assert "to stderr" in lines
    variables = {line.split("=")[0] for line in lines if "=" in line}
    assert variables - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH", "GANETI_HOOKS_VERSION"}
    assert (result.run_as, result.status) == ("nobody", SUCCEEDED)


@ROOT
@pytest.mark.parametrize("text", [b"echo no interpreter\n", b"", b"\x00\x01\x02\x03"])
async def test_another_user_runs_no_text_without_an_interpreter(
    open_hooks: Hooks, text: bytes
) -> None:
    open_hooks.script("10-a", text)
    result = await open_hooks.only()
    assert (result.status, result.problem) == (FAILED, "cannot be executed: Exec format error")


@ROOT
async def test_what_another_user_may_not_execute_fails(open_hooks: Hooks) -> None:
    open_hooks.script("10-a", "exit 0").chmod(0o700)
    result = await open_hooks.only()
    assert result.status is FAILED
    assert "Permission denied" in result.output


@ROOT
async def test_a_script_of_another_user_is_ended_at_its_deadline(
    open_hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "KILL_GRACE", 0.1)
    open_hooks.script("10-a", "trap '' TERM; sleep 1000; sleep 1000")
    result = await open_hooks.only(timeout=1.0)
    assert result.timed_out and result.status is FAILED


def test_who_is_not_root_cannot_run_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(accounts.NotPossible, match="only an agent that runs as root"):
        accounts.account("nobody")


async def test_a_pipe_in_the_place_of_the_policy_is_found_and_not_waited_for(hooks: Hooks) -> None:
    os.mkfifo(hooks.base / FILE)
    async with asyncio.timeout(100):
        [one] = await asyncio.to_thread(hook_policy.findings, hooks.base)
    assert (one.error, one.message) == (True, "it is no file")
