"""Installing an instance with a script that is not trusted, in a guest of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from gantry.agent import images, os_scripts
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.agent.programs import Programs
from gantry.hypervisors.contract import Installation
from gantry.model.image_location import INSTALL_IMAGE
from gantry.model.orders import Nothing, OsInstall
from gantry.osdefs import running, untrusted
from gantry.osdefs.package import package

_TEMPORARY: Final = "var/lib/gantry/installing"


async def install(parts: Parts, order: OsInstall, task: Task) -> Nothing:
    """Run ``create_untrusted`` in the guest; errors are those of a ``create``.

    The guest sees every disk as a raw one, whatever its format, and nobody else has them
    meanwhile.
    """
    run, guest, secrets = order.run, order.guest, task.envelope.secrets
    facts = await asyncio.to_thread(running.usable, parts.finder, run.os)
    running.must_be_untrusted(facts)
    driver = parts.hypervisor(run.hypervisor)
    programs = Programs(order, task)
    image = await images.local(parts, guest.image, INSTALL_IMAGE, programs, task)
    temporary = parts.root / _TEMPORARY
    temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
    variables = untrusted.variables(facts, run, reinstall=order.reinstall, secrets=secrets)
    async with os_scripts.disks(parts, run, "create_untrusted") as paths:
        with package(Path(facts.path), variables) as packed, untrusted.results() as results:
            described = Installation(
                name=run.name,
                memory=guest.memory,
                vcpus=guest.vcpus,
                image=str(image.path),
                image_format=image.format,
                disks=tuple(paths),
                nics=run.nics,
                hvparams=run.hvparams,
                package=packed,
                results=results.target,
            )
            async with driver.installation(described) as program:
                await untrusted.install(
                    facts,
                    run,
                    running.Guest(argv=program.argv, inherited=program.inherited),
                    results,
                    os_scripts.care(parts, task),
                    guest=guest,
                    temporary=temporary,
                    disks=paths,
                    secrets=secrets,
                )
    parts.facts.disturbed()
    return Nothing()
