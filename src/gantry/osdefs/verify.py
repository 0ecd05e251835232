"""Whether an OS can be installed with these parameters (OS interface, section 5).

The checks come in this order: found, variant, names of the parameters, the definition's own
``verify`` script. Nothing is changed by any of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from gantry.model import timeouts
from gantry.model.errors import Reason, Rejected
from gantry.model.image_location import OS_IMAGE
from gantry.model.live import OsFacts
from gantry.model.orders import OsVerify
from gantry.osdefs import check, environment, running
from gantry.osdefs.search import Finder
from gantry.osdefs.variants import split, variant_of

_log: Final = logging.getLogger(__name__)

ARGUMENTS: Final = ("parameters",)


async def verify(
    finder: Finder,
    question: OsVerify,
    secrets: Mapping[str, str] | None = None,
    *,
    timeout: float = timeouts.OS_VERIFY,
) -> None:
    """Return where all is well, raise Rejected otherwise; ``timeout`` in seconds.

    ``secrets`` are the secret parameters, which travel beside the question. A definition that
    is not there is no fault where ``question.required`` is false.
    """
    base = split(question.os)[0]
    if not question.required and await asyncio.to_thread(finder.lookup, base) is None:
        return
    facts = await asyncio.to_thread(running.usable, finder, question.os)
    told = variables(facts, question, secrets)
    if told is None:
        return
    hidden = [*question.private_parameters.values(), *(secrets or {}).values()]
    await _run(facts, told, hidden, timeout)


def variables(
    facts: OsFacts, question: OsVerify, secrets: Mapping[str, str] | None = None
) -> dict[str, str] | None:
    """What ``verify`` gets, None where the version has none; Rejected by variant and names."""
    variant = variant_of(facts, question.os, question.force_variant)
    parameters = environment.merge(question.parameters, question.private_parameters, secrets or {})
    if check.version(facts.api_versions) < 20:
        return None
    _check_names(facts, parameters)
    return environment.core(facts, variant, parameters)


def _check_names(facts: OsFacts, parameters: Mapping[str, str]) -> None:
    known = [name for name, _ in facts.parameters]
    # An image is for whoever writes it to the disk, whatever the definition knows.
    unknown = sorted(set(parameters) - {*known, OS_IMAGE})
    if unknown:
        listed = ", ".join(known) if known else "none"
        raise Rejected(
            f"the OS definition {facts.name} has no parameter {', '.join(map(repr, unknown))} "
            f"({check.PARAMETERS_FILE} in {facts.path})",
            f"its parameters are: {listed}; -O {unknown[0]}=default takes away what the instance "
            "has from before (of private ones --os-parameters-private)",
            object_name=facts.name,
        )


async def _run(
    facts: OsFacts, variables: Mapping[str, str], hidden: list[str], timeout: float
) -> None:
    ended = await running.run(
        facts, check.VERIFY, ARGUMENTS, environment=variables, timeout=timeout
    )
    for what in (*ended.left, *ended.stuck):
        _log.warning("%s/%s left %s behind", facts.path, check.VERIFY, what)
    if ended.succeeded:
        return
    output = running.redact(ended.output.strip(), hidden)
    said = f"; it said:\n{output}" if output else "; it said nothing"
    raise Rejected(
        f"the OS definition {facts.name} refused the parameters: {facts.path}/{check.VERIFY} "
        f"{ended.how}{said}",
        "give other OS parameters (-O), or mend the script",
        reason=Reason.INPUT,
        object_name=facts.name,
    )
