"""How long the program that starts scripts waits for each, and what it may not lose by it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal
from gantry.host import spawner_program
patience = spawner_program._Patience()
def begun(*argv):
    return os.posix_spawnp(argv[0], argv, {"PATH": os.environ["PATH"]})
"""


def told(text: str) -> str:
    """What such a program says, in a process of its own: the timer is the process's."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + text],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return done.stdout


def test_one_that_ends_soon_has_ended_as_it_did() -> None:
    text = """
spawner_program.AFTER = 60
for status in range(20):
    found, usage = patience.ended(begun("sh", "-c", f"exit {status}"))
    print(os.waitstatus_to_exitcode(found), usage.ru_utime >= 0)
"""
    assert told(text) == "".join(f"{status} True\n" for status in range(20))


def test_one_that_takes_long_is_left_unreaped() -> None:
    text = """
pid = begun("sleep", "60")
print(patience.ended(pid))
os.kill(pid, 9)
print(os.wait4(pid, 0)[1])
"""
    assert told(text) == "None\n9\n"


def test_the_alarm_says_nothing_of_one_that_has_ended_whether_it_is_known_or_not() -> None:
    """It may come at any moment: when the script has just ended, or has just been reaped."""
    text = """
spawner_program.AFTER = 60
pid = begun("true")
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
patience._pid = pid
patience._alarm()
print(os.wait4(pid, 0)[1])
patience._alarm()
print(patience.ended(begun("true"))[0])
"""
    assert told(text) == "0\n0\n"


def test_an_alarm_at_any_moment_loses_no_end() -> None:
    text = """
real, turn = signal.setitimer, 0
signal.setitimer = lambda which, seconds: real(which, seconds and 0.00002 * (turn % 60))
soon = []
for turn in range(1, 301):
    pid = begun("sh", "-c", f"exit {turn % 7}")
    found = patience.ended(pid)
    soon.append(found is not None)
    status = found[0] if found is not None else os.wait4(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) == turn % 7
print(set(soon))
"""
    assert told(text) == "{False, True}\n"
