"""The special directory ``watcher``: what its scripts are told, which is next to nothing.

Each node runs them by itself, so no operation, no job and no master stands behind them.
"""

from __future__ import annotations

from typing import Final

from gantry.model.hook_orders import HookDirectory, HooksRun

DIRECTORY: Final = "watcher"
_ENVIRONMENT: Final = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "LC_ALL": "C"}


def order(run_id: str, main_version: int = 1) -> HooksRun:
    """One run of all of its scripts."""
    return HooksRun(
        directories=(HookDirectory(name=DIRECTORY, version=main_version),),
        environments={version: dict(_ENVIRONMENT) for version in ("1", "2")},
        main_version=main_version,
        job=0,
        run_id=run_id,
        attempt=1,
    )


def added(root: str, run_id: str) -> dict[str, str]:
    """What is added to the environment on a node with that root."""
    return {"GANTRY_ROOT": root, "GANTRY_RUN_ID": run_id}
