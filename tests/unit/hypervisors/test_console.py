from __future__ import annotations

from gantry.hypervisors.console import BUFFER, TAIL, TOO_SLOW, Attachment, Line


async def everything(attachment: Attachment) -> bytes:
    return b"".join([data async for data in attachment.output()])


def line() -> tuple[Line, list[bytes]]:
    typed: list[bytes] = []

    async def send(data: bytes) -> None:
        typed.append(data)

    return Line(send, b"before "), typed


async def test_the_tail_is_bounded_and_comes_first() -> None:
    console, _ = line()
    console.feed(b"x" * TAIL * 3 + b"end")

    attachment = console.attach()
    console.feed(b" and more")
    console.end()

    said = await everything(attachment)
    assert said.endswith(b"xend and more")
    assert len(said) == TAIL + len(b" and more")


async def test_one_that_is_too_far_behind_is_told_and_dropped() -> None:
    console, _ = line()
    slow = console.attach()

    for _ in range(BUFFER // 1000 + 1):
        console.feed(b"y" * 1000)
    console.feed(b"never seen")

    assert await everything(slow) == TOO_SLOW


async def test_what_is_typed_goes_to_the_guest_until_the_end() -> None:
    console, typed = line()
    attachment = console.attach()

    await attachment.write(b"a")
    console.end()
    await attachment.write(b"b")

    assert typed == [b"a"]
