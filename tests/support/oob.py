"""Programs that switch the power of made-up machines, as a site has one for real ones."""

from __future__ import annotations

from pathlib import Path

_PROGRAM = """#!/bin/sh
# COMMAND NODE; a machine that is off has a file beside this program.
off="${0%/*}/$2.off"
echo "$1 $2" >> "${0%/*}/calls"
case $1 in
  power-on) rm -f "$off" ;;
  power-off) : > "$off" ;;
  power-cycle) ;;
  power-status) [ -e "$off" ] && on=false || on=true; echo '{"powered": '$on'}' ;;
  health) echo '[["fan", "OK"], ["psu", "WARNING"]]' ;;
  *) exit 1 ;;
esac
"""


def write_oob_program(path: Path, text: str = _PROGRAM) -> None:
    """Make it, so that an agent trusts it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.write_text(text)
    path.chmod(0o755)
