"""What a new master writes down, and whom it waits for."""

from __future__ import annotations

import msgspec
from tests.fakes.cluster import node_uuid
from tests.faults.situations import TAKEN_OVER

from gantry.main.standing import taken_over

A, B, C = node_uuid(1), node_uuid(2), node_uuid(3)


def test_scripts_hear_from_whom_the_master_moved_though_it_moved_again_before() -> None:
    began = msgspec.structs.replace(TAKEN_OVER, master_node=A, failed_over_from=None)
    once = taken_over(began, B)
    assert (once.failed_over_from, once.master_node) == (A, B)
    # Nobody has heard of B yet.
    further = taken_over(once, C)
    assert (further.failed_over_from, further.master_node) == (A, C)
    back = taken_over(once, A)
    assert (back.failed_over_from, back.master_node) == (B, A)
    assert back.serial_no == began.serial_no + 2
