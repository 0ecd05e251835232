"""What agents are told of an instance's disks and NICs."""

import msgspec

from gantry.model.entities import Disk, Nic
from gantry.model.orders import DiskSpec, NicSpec

OWN = {"index", "targets"}


def test_all_that_agents_are_told_of_disks_and_nics_is_known_of_them() -> None:
    for spec, known in ((DiskSpec, Disk), (NicSpec, Nic)):
        assert set(spec.__struct_fields__) - OWN <= set(known.__struct_fields__)
        kinds = {field.name: field.type for field in msgspec.structs.fields(known)}
        for field in msgspec.structs.fields(spec):
            assert field.name in OWN or field.type == kinds[field.name], field.name
