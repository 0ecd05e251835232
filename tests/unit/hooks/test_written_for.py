"""Which version of the interface a script looks written for."""

from __future__ import annotations

import pytest

from gantry.hooks.written_for import written_for

GUIDE = 'case "$GANETI_HOOKS_VERSION" in\n1|2) ;;\n*) exit 1 ;;\nesac\n'


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("exit 0", ()),
        ('[ "$GANETI_HOOKS_VERSION" = 2 ] || exit 1', (2,)),
        ('test "$GANETI_HOOKS_VERSION" -eq 1', (1,)),
        ("if os.environ['GANETI_HOOKS_VERSION'] != '2':", (2,)),
        ("if int(os.environ['GANETI_HOOKS_VERSION']) != 1: sys.exit(1)", (1,)),
        ('if [ "$GANETI_HOOKS_PHASE" = "pre" ]; then', (2,)),
        ('if [ "$GANETI_HOOKS_PHASE" = POST ]; then', (1,)),
        ('case "$GANETI_HOOKS_PHASE" in\n  pre) a ;;\n  post) b ;;\nesac', (2,)),
        ('case "$GANETI_HOOKS_PHASE" in\n  PRE|pre) a ;;\nesac', (1, 2)),
        (GUIDE, (1, 2)),
        ('# [ "$GANETI_HOOKS_VERSION" = 2 ]\nexit 0', ()),
        ("phase = os.environ['GANETI_HOOKS_PHASE'].lower()\nif phase == 'pre': pass", ()),
        ("logger -t hooks pre and post of $GANETI_HOOKS_PATH", ()),
        ('echo "$GANETI_HOOKS_VERSION 12"', ()),
    ],
)
def test_versions(text: str, versions: tuple[int, ...]) -> None:
    assert written_for(text) == versions
