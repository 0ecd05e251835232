"""What waits for webhooks, in a file of the master's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from gantry.model.errors import OperationFailed, Reason

FILE: Final = "var/lib/gantry/webhooks.json"


class FileOutbox:
    """Implements ``gantry.api.deliveries.Outbox``."""

    def __init__(self, root: Path) -> None:
        self._path = root / FILE

    async def load(self) -> bytes:
        """What was saved last."""
        return await asyncio.to_thread(self._load)

    async def save(self, data: bytes) -> None:
        """Replace it as a whole; it need not outlive a power cut."""
        try:
            await asyncio.to_thread(self._save, data)
        except OSError as error:
            raise _failed(self._path, "written", error) from error

    def _load(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _failed(self._path, "read", error) from error

    def _save(self, data: bytes) -> None:
        part = self._path.with_name(f".{self._path.name}.new")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        part.replace(self._path)


def _failed(path: Path, what: str, error: OSError) -> OperationFailed:
    return OperationFailed(f"{path} cannot be {what}: {error.strerror}", reason=Reason.ENVIRONMENT)
