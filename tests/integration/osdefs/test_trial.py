"""``gnt-os test``: what every script did is seen, and nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.osdefs.definitions import is_dead, write

from gantry.cli.errors import Usage
from gantry.main.os_bench import LocalOsBench
from gantry.model.errors import Rejected
from gantry.model.os_trial import Attempt, Outcome, Step, Trial, Wanted

GOOD = {
    "create": 'printf hello | dd of="$DISK_0_PATH" conv=notrunc status=none; echo "$INSTANCE_NAME"',
    "export": 'echo 5 >&"$EXP_SIZE_FD"; head -c5 "$EXPORT_DEVICE"',
    "import": 'dd of="$IMPORT_DEVICE" conv=notrunc status=none',
    "rename": 'head -c5 "$DISK_0_PATH"; echo " $OLD_INSTANCE_NAME to $INSTANCE_NAME"',
}
ALL = [one.value for one in Step]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where trials make their directories; empty at the end."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


def attempt(definition: Path, **wanted: Any) -> Trial:
    told: list[Attempt] = []
    here, mask = Path.cwd(), os.umask(0o022)
    made = Wanted(**{"disk": 1, "timeout": 20.0, **wanted})
    trial = LocalOsBench().attempt(str(definition), definition.name, made, told.append)
    assert tuple(told) == trial.attempts
    assert (Path.cwd(), os.umask(mask)) == (here, 0o022)
    return trial


def by_step(trial: Trial) -> dict[Step, Attempt]:
    return {one.step: one for one in trial.attempts}


def test_private_and_secret_parameters_are_given_and_not_shown(
    tmp_path: Path, scratch: Path
) -> None:
    said = 'echo "$OSP_DHCP is not ${OSP_KEY#s}, ${OSP_KEY:-none}, ${OSP_WORD:-none}" >&2'
    scripts = {name: f"{said}\n{body}" for name, body in GOOD.items()}
    place = write(tmp_path, scripts=scripts, files={"parameters.list": "dhcp x\nkey x\nword x\n"})
    trial = attempt(
        place,
        parameters={"dhcp": "yes"},
        private_parameters={"word": "watchword"},
        secret_parameters={"key": "skeleton"},
    )
    assert trial.succeeded
    found = by_step(trial)
    for step in (Step.CREATE, Step.IMPORT, Step.RENAME, Step.REINSTALL):
        assert "yes is not keleton, <redacted>, <redacted>" in found[step].output
        assert found[step].environment["OSP_KEY"] == "<redacted>"
    # An export gets none: it is to be read by whoever has no secrets.
    assert "OSP_KEY" not in found[Step.EXPORT].environment
    assert "skeleton" not in str(trial)
    assert "watchword" not in str(trial)


def test_all_scripts_do_their_work(tmp_path: Path, scratch: Path) -> None:
    place = write(tmp_path, scripts=GOOD, files={"variants.list": "one\ntwo\n"})
    trial = attempt(place, parameters={"dhcp": "yes"})
    found = by_step(trial)
    assert [one.value for one in found] == ALL
    assert (trial.succeeded, trial.os, trial.api_version, trial.kept) == (True, "deb+one", 20, "")
    assert {one.exit_status for one in trial.attempts} == {0}
    assert found[Step.CREATE].output == "web1.example.com\n"
    assert found[Step.RENAME].output == "hello web1.example.com to copy-of-web1.example.com\n"
    assert (found[Step.EXPORT].predicted, found[Step.EXPORT].dump) == (5, 5)
    assert found[Step.CREATE].written and found[Step.CREATE].duration > 0
    seen = {step: one.environment for step, one in found.items()}
    assert all(one["OSP_DHCP"] == "yes" and one["OS_VARIANT"] == "one" for one in seen.values())
    assert "INSTANCE_NAME" not in seen[Step.VERIFY]
    assert "INSTANCE_REINSTALL" not in seen[Step.CREATE]
    assert seen[Step.REINSTALL]["INSTANCE_REINSTALL"] == "1"
    assert seen[Step.EXPORT]["EXPORT_INDEX"] == seen[Step.IMPORT]["IMPORT_INDEX"] == "0"
    assert seen[Step.IMPORT]["INSTANCE_NAME"] == "copy-of-web1.example.com"


def test_what_would_run_in_a_guest_is_left_out_with_all_that_follows(
    tmp_path: Path, scratch: Path
) -> None:
    place = write(tmp_path, scripts=GOOD)
    (place / "create").rename(place / "create_untrusted")
    trial = attempt(place, parameters={"dhcp": "yes"})
    assert trial.succeeded
    found = by_step(trial)
    assert found.pop(Step.VERIFY).outcome is Outcome.SUCCEEDED
    assert {one.outcome for one in found.values()} == {Outcome.SKIPPED}
    assert {one.how for one in found.values()} == {
        "create_untrusted runs in a guest, and none is booted"
    }


@pytest.mark.parametrize(
    ("failing", "outcomes"),
    [
        ("verify", "failed skipped skipped skipped skipped skipped"),
        ("create", "succeeded failed skipped skipped skipped skipped"),
        ("export", "succeeded succeeded failed skipped skipped succeeded"),
        ("import", "succeeded succeeded succeeded failed skipped succeeded"),
        ("rename", "succeeded succeeded succeeded succeeded failed succeeded"),
    ],
)
def test_what_depends_on_a_failure_is_not_run(
    tmp_path: Path, scratch: Path, failing: str, outcomes: str
) -> None:
    trial = attempt(write(tmp_path, scripts={**GOOD, failing: "echo no; exit 3"}))
    assert [one.outcome.value for one in trial.attempts] == outcomes.split()
    assert not trial.succeeded
    failed = by_step(trial)[Step(failing)]
    assert (failed.exit_status, failed.how) == (3, "ended with exit status 3")
    assert failing == "export" or failed.output == "no\n"


@pytest.mark.parametrize(
    ("steps", "run"),
    [
        ((Step.RENAME,), ["rename"]),
        ((Step.IMPORT,), ["export", "import"]),
        ((Step.REINSTALL, Step.VERIFY), ["verify", "reinstall"]),
    ],
)
def test_some_scripts_alone(
    tmp_path: Path, scratch: Path, steps: tuple[Step, ...], run: list[str]
) -> None:
    trial = attempt(write(tmp_path, scripts=GOOD), steps=steps)
    assert [one.step.value for one in trial.attempts] == run
    assert trial.succeeded


def test_an_older_version_has_no_verify(tmp_path: Path, scratch: Path) -> None:
    place = write(tmp_path, files={"ganeti_api_version": "15\n"})
    found = by_step(attempt(place))
    assert found[Step.VERIFY].outcome is Outcome.SKIPPED
    assert {one.outcome for step, one in found.items() if step is not Step.VERIFY} == {
        Outcome.SUCCEEDED
    }


def test_what_is_left_behind_is_found_and_ended(tmp_path: Path, scratch: Path) -> None:
    pid = tmp_path / "pid"
    body = f"setsid sleep 300 & echo $! > {pid}; echo x > changed; rm rename"
    place = write(tmp_path, scripts={"create": body})
    found = by_step(attempt(place, steps=(Step.CREATE,)))[Step.CREATE]
    assert found.outcome is Outcome.SUCCEEDED
    assert [what.split()[:2] for what in found.left] == [["process", pid.read_text().strip()]]
    assert is_dead(pid)
    assert found.changed == ("changed", "rename")
    assert (place / "rename").exists(), "it was a copy"


@pytest.mark.root
def test_mounts_and_loop_devices_are_found_too(tmp_path: Path, scratch: Path) -> None:
    """Wherever they are in the trial's directory: it is removed."""
    body = (
        'losetup --find "$DISK_0_PATH"; mkdir ../../../../mine; '
        "mount -t tmpfs none ../../../../mine; touch ../../../../mine/x"
    )
    place = write(tmp_path, scripts={"create": body})
    found = by_step(attempt(place, steps=(Step.CREATE,)))[Step.CREATE]
    assert found.outcome is Outcome.SUCCEEDED, found
    assert sorted(what.split()[:2] for what in found.left) == [
        ["the", "loop"],
        ["the", "mount"],
    ]
    assert str(scratch) not in Path("/proc/self/mountinfo").read_text()


def test_one_that_hangs_is_ended(tmp_path: Path, scratch: Path) -> None:
    place = write(tmp_path, scripts={"create": "trap '' TERM; sleep 300"})
    found = by_step(attempt(place, steps=(Step.CREATE,), timeout=0.5))[Step.CREATE]
    assert (found.outcome, "did not end within 0.5 s" in found.how) == (Outcome.FAILED, True)


def test_much_output_is_kept_within_bounds(tmp_path: Path, scratch: Path) -> None:
    place = write(tmp_path, scripts={"create": "head -c 10000000 /dev/zero | tr '\\0' x"})
    found = by_step(attempt(place, steps=(Step.CREATE,)))[Step.CREATE]
    assert "bytes left out" in found.output
    assert len(found.output) < 70_000


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"parameters": {"no": "x"}}, "has no parameter 'no'"),
        ({"variant": "x"}, "has no variants"),
    ],
)
def test_what_a_node_would_refuse_is_refused(
    tmp_path: Path, scratch: Path, wanted: dict[str, Any], said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        attempt(write(tmp_path), **wanted)


def test_what_is_no_definition_is_not_copied(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(Usage, match="it has no ganeti_api_version"):
        attempt(tmp_path)
    with pytest.raises(Usage, match="is no directory"):
        attempt(tmp_path / "nothing")
    place = write(tmp_path)
    (place / "export").unlink()
    with pytest.raises(Rejected, match="export is missing"):
        attempt(place)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_a_device_in_a_definition_is_not_copied(tmp_path: Path, scratch: Path, device: str) -> None:
    place = write(tmp_path, scripts=GOOD)
    (place / "endless").symlink_to(device)
    with pytest.raises(Usage, match="endless is no file"):
        attempt(place)


def _command(*arguments: str, scratch: Path) -> list[str]:
    code = "import sys; from gantry.main.gnt import main; sys.exit(main('gnt-os', sys.argv[1:]))"
    return ["env", f"TMPDIR={scratch}", sys.executable, "-c", code, "test", *arguments]


def test_the_command_says_it_as_json_and_keeps_what_it_made(tmp_path: Path, scratch: Path) -> None:
    place = write(tmp_path, scripts=GOOD)
    argv = _command("--json", "--keep", "--disk-size", "1M", str(place), scratch=scratch)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["step"] for one in found["attempts"]] == ALL
    kept = Path(found["kept"])
    assert (kept / "dump").read_bytes() == b"hello"
    assert (kept / "disks/copy-of-web1.example.com/disk0").read_bytes()[:5] == b"hello"
    subprocess.run(["rm", "-r", str(kept)], check=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_ended_leaves_nothing(
    tmp_path: Path, scratch: Path, number: signal.Signals
) -> None:
    pid = tmp_path / "pid"
    place = write(tmp_path, scripts={"create": f"echo $$ > {pid}; sleep 300"})
    argv = _command("--script", "create", "--disk-size", "1M", str(place), scratch=scratch)
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 30
        while not pid.exists() or not pid.read_text():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(number)
        assert child.wait(100) in (130, 143)
        assert child.stderr is not None and "Traceback" not in child.stderr.read()
    assert is_dead(pid)
