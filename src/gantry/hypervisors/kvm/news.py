"""Waiting for QEMU to say something, whatever it is: asking it again is the waiter's business."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gantry.hypervisors.kvm.monitor import Event
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import OperationFailed


class News:
    """Events of one guest, from ``listening`` on; ``told`` also gets each of them."""

    def __init__(self, running: Running, told: Event = lambda _event, _data: None) -> None:
        self._running = running
        self._told = told
        self._news = asyncio.Event()

    @contextmanager
    def listening(self) -> Iterator[News]:
        """Listen meanwhile; what is asked afterwards cannot have been missed."""

        def heard(event: str, data: Mapping[str, Any]) -> None:
            self._told(event, data)
            self._news.set()

        with self._running.listening(heard):
            yield self

    async def next(self) -> None:
        """Until something was said, or it is time to report; OperationFailed once QEMU is gone."""
        waits = [
            asyncio.ensure_future(self._news.wait()),
            asyncio.ensure_future(self._running.gone.wait()),
        ]
        try:
            await asyncio.wait(
                waits, timeout=timeouts.MIGRATION_REPORT, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for one in waits:
                one.cancel()
        self._news.clear()
        if self._running.gone.is_set():
            name, files = self._running.record.spec.name, self._running.files
            why = files.last_errors() or self._running.how
            raise OperationFailed(f"QEMU of {name} ended: {why}", object_name=name)
