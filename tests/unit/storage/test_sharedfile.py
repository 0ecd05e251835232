from __future__ import annotations

from pathlib import Path

import pytest

from gantry.model.entities import DiskTemplate
from gantry.model.errors import OperationFailed
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.storage.file import FileStorage
from gantry.storage.sharedfile import SharedFileStorage

DISK = DiskSpec(
    uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
    index=0,
    size=1,
    path="/srv/shared/web1/disk0",
    template=DiskTemplate.SHAREDFILE,
)


async def test_a_shared_directory_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match=r"directory .*/srv/shared is not there"):
        await SharedFileStorage(tmp_path, ["/srv/shared"]).create(DISK)
    assert not (tmp_path / "srv").exists()


async def test_a_directory_of_the_node_itself_is_made(tmp_path: Path) -> None:
    await FileStorage(tmp_path, ["/srv/shared"]).create(DISK)
    assert (tmp_path / "srv/shared/web1/disk0").stat().st_size == 1 << 20
