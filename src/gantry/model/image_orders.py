"""Orders and questions about images of disks, which are files on nodes or have URLs."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model.asking import AfterDeath, Nothing, Order, Question
from gantry.model.names import Uuid
from gantry.model.specs import DiskSpec


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """``size``: bytes that a disk needs to hold it; 0 where only its server could tell.

    ``download``: bytes that its server says that it has; 0 where it does not say.
    """

    size: int
    download: int = 0


class ReadImage(Question[ImageFacts], frozen=True, kw_only=True, tag="image-read"):
    """Whether the node can read the image. Error: Rejected. One at a URL is not fetched."""

    answer: ClassVar[type[msgspec.Struct]] = ImageFacts

    image: str


class ImageWrite(Order[Nothing], frozen=True, kw_only=True, tag="image-write"):
    """The disk begins with what is in the image; what comes behind that stays.

    ``instance`` and ``name`` say whose disk it is, so that nobody else works on it.
    """

    after_death: ClassVar[AfterDeath] = AfterDeath.ENDED_AND_DONE_AGAIN
    disk: DiskSpec
    image: str
    instance: Uuid
    name: str
