"""Which end-to-end tests do not run on both stores, and why.

Every test with the fixture ``cluster`` runs once with the state in a file and once in etcd, unless
it is named here or says itself on which one it runs.
"""

from __future__ import annotations

from typing import Final

EDGE: Final = "what is refused at the edge never comes to the store"
NO_STORE: Final = "it asks nodes only, or files on them"
TRANSFER: Final = "it is about what goes between two agents; one export and import is on both"
POWER: Final = "it is about a machine's power; what comes after it is on both elsewhere"

ON_A_FILE: Final = {
    "test_a_cancelled_job": TRANSFER,
    "test_a_connection_that_breaks": TRANSFER,
    "test_a_target_that_is_full": TRANSFER,
    "test_a_silent_nodes_power_is_taken_before_its_guests_run_elsewhere": POWER,
    "test_an_agent_that_is_killed": TRANSFER,
    "test_an_export_of_ganeti_s_is_imported": TRANSFER,
    "test_an_import_to_a_disk_that_is_full": TRANSFER,
    "test_an_import_whose_agent_is_killed": TRANSFER,
    "test_an_import_whose_connection_breaks": TRANSFER,
    "test_how_far_it_is_is_seen_while_it_lasts": TRANSFER,
    "test_a_master_that_waits_for_other_nodes_ends_when_it_is_told_to": (
        "with etcd the store's word counts, and a master waits for no nodes"
    ),
    "test_local_disks_go_along_running_or_not": TRANSFER,
    "test_what_cannot_go_is_said_and_makes_the_command_fail": EDGE,
    "test_mistakes_are_refused": EDGE,
    "test_what_breaks_leaves_nothing_and_says_why": TRANSFER,
    "test_without_an_os_the_content_goes_as_it_is_and_holes_stay": TRANSFER,
    "test_a_memory_that_is_none_is_refused": EDGE,
    "test_a_name_that_is_no_host_name_is_refused": EDGE,
    "test_a_senseless_change_is_refused": EDGE,
    "test_a_size_that_is_none_is_refused": EDGE,
    "test_an_unknown_command_or_option_is_wrong_use": EDGE,
    "test_an_unknown_instance_is_named": EDGE,
    "test_what_cannot_be_a_bundle_is_refused_before_anything_is_sent": EDGE,
    "test_what_is_no_webhook_is_refused": EDGE,
    "test_a_bundle_that_is_not_there_is_named": EDGE,
    "test_a_job_that_does_not_exist_is_named": EDGE,
    "test_every_agent_runs_the_watchers_scripts_without_a_master": NO_STORE,
    "test_nodes_run_their_scripts_side_by_side": NO_STORE,
    "test_the_operating_systems_that_come_with_gantry_are_valid_everywhere": NO_STORE,
    "test_without_a_master_every_program_says_what_to_do": (
        "with etcd another node takes over, and programs wait for that: test_master_failover.py"
    ),
}
"""Tests with the fixture ``cluster``."""

CLUSTERS_OF_THEIR_OWN: Final = {
    "test_cut.py": "it is about what agents tell; tests/rounds cut nodes off with both stores",
    "test_demo.py": "the demo makes its own cluster, which is on a file",
    "test_guest.py": "a real guest is its agent's",
    "test_moving.py": "what dies on the way is on both in tests/faults; the rest is the agents'",
    "test_namespaces.py": "test_many_machines.py does the same with etcd",
    "test_untrusted.py": "the installation is its agent's; masters that die are on both elsewhere",
    "test_simulated.py": "simulated nodes are never candidates, so the store is not theirs",
}
"""Files whose tests make clusters with their state in a file."""
