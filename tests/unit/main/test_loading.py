"""What the daemons load before they need it: every node has one that waits."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["standby", "contest", "master"])
def test_nobody_loads_cryptography_before_a_certificate_is_made(module: str) -> None:
    program = f"import sys, gantry.main.{module}; print('cryptography' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
