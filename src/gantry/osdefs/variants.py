"""Full OS names and the variant rule (OS interface, sections 1 and 5). Pure."""

from __future__ import annotations

from gantry.model.errors import Reason, Rejected
from gantry.model.live import OsFacts


def split(os_name: str) -> tuple[str, str]:
    """A full name as (base name, variant); the variant is empty where there is none."""
    base, _, variant = os_name.partition("+")
    return base, variant


def variant_of(facts: OsFacts, os_name: str, force: bool = False) -> str:
    """The variant that the scripts are told, or Rejected where ``os_name`` breaks the rule.

    ``force`` allows variants that are not declared; without any, the first declared one is
    taken. A definition without variants is always told an empty one.
    """
    variant = split(os_name)[1]
    if not force:
        _check(facts, variant)
    if not facts.variants:
        return ""
    return variant or facts.variants[0]


def _check(facts: OsFacts, variant: str) -> None:
    declared = ", ".join(f"{facts.name}+{one}" for one in facts.variants)
    if variant and not facts.variants:
        raise Rejected(
            f"the OS definition {facts.name} has no variants, so {facts.name}+{variant} cannot "
            "be used",
            f"ask for {facts.name} alone",
            object_name=facts.name,
        )
    if facts.variants and not variant:
        raise Rejected(
            f"the OS definition {facts.name} has variants, and none was asked for",
            f"ask for one of {declared}",
            object_name=facts.name,
        )
    if variant and variant not in facts.variants:
        raise Rejected(
            f"the OS definition {facts.name} does not declare the variant {variant}",
            f"ask for one of {declared}, or give --force-variant",
            reason=Reason.INPUT,
            object_name=facts.name,
        )
