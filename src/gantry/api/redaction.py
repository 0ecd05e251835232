"""Jobs as they leave the master: private OS parameters of their operations are not shown.

Nor are passwords in URLs of images, for which an operation was refused. The store keeps the real
ones, since the operation needs them. What an operation does with them is not decided here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gantry.model.image_location import OS_IMAGE, has_password, shown
from gantry.model.jobs import Job, JobChange

REDACTED: Final = "<redacted>"
_PRIVATE: Final[tuple[str, ...]] = ("osparams_private", "osparams_private_cluster")
"""The first by parameter, the second by OS and parameter."""


def operation(given: dict[str, Any]) -> dict[str, Any]:
    """The operation with the names of its private parameters, and not their values."""
    hidden = {name: _hidden(given[name]) for name in _PRIVATE if name in given}
    hidden |= _images(given)
    return {**given, **hidden} if hidden else given


def job(whole: Job) -> Job:
    """The job as clients may see it; the same object where there is nothing to hide."""
    ops = tuple(
        one if shown is one.input else msgspec.structs.replace(one, input=shown)
        for one in whole.ops
        for shown in (operation(one.input),)
    )
    if all(new is old for new, old in zip(ops, whole.ops, strict=True)):
        return whole
    return msgspec.structs.replace(whole, ops=ops)


def change(told: JobChange) -> JobChange:
    """The piece of a live log as clients may see it."""
    if told.job is None:
        return told
    return msgspec.structs.replace(told, job=job(told.job))


def _images(given: dict[str, Any]) -> dict[str, Any]:
    """Images that have a password in their URLs, as they may be shown."""
    found: dict[str, Any] = {}
    public = given.get("osparams")
    image = public.get(OS_IMAGE) if isinstance(public, dict) else None
    if isinstance(image, str) and has_password(image):
        found["osparams"] = {**given["osparams"], OS_IMAGE: shown(image)}
    install = given.get("install_image")
    if isinstance(install, str) and has_password(install):
        found["install_image"] = shown(install)
    return found


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hidden(inner) for name, inner in value.items()}
    return REDACTED
