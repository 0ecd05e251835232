from __future__ import annotations

from pathlib import Path

import pytest

from gantry.model.entities import DiskFormat, DiskTemplate
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.storage.contract import Storage
from gantry.storage.file import FileStorage
from gantry.storage.sharedfile import SharedFileStorage

DIRECTORY = "/srv/ganeti/disks"
TEMPLATES = {DiskTemplate.FILE: FileStorage, DiskTemplate.SHAREDFILE: SharedFileStorage}


@pytest.fixture(params=sorted(TEMPLATES))
def template(request: pytest.FixtureRequest) -> DiskTemplate:
    return DiskTemplate(request.param)


@pytest.fixture
def storage(template: DiskTemplate, tmp_path: Path) -> Storage:
    (tmp_path / DIRECTORY.lstrip("/")).mkdir(parents=True)
    return TEMPLATES[template](tmp_path, [DIRECTORY])


@pytest.fixture(params=sorted(DiskFormat))
def disk(request: pytest.FixtureRequest, template: DiskTemplate) -> DiskSpec:
    return DiskSpec(
        uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
        index=0,
        size=64,
        path=f"{DIRECTORY}/web1.gantry.test/disk0",
        template=template,
        format=DiskFormat(request.param),
    )
