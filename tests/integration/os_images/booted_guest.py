"""A real guest under QEMU, for the tests of our images: its serial console and its power button."""

import asyncio
import contextlib
import json
import os
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.os_images.definition import MAC
from tests.support.guest_kernel import GuestKernel

BOOT_SECONDS = 60.0
KERNEL_ARGUMENTS = "ro quiet cryptomgr.notests no_timer_check panic=10 console=ttyS0,115200"
USER_NIC = ("-netdev", "user,id=n0", "-device", f"virtio-net-pci,netdev=n0,mac={MAC}")


def virtio_disk(path: Path) -> tuple[str, ...]:
    """QEMU's arguments for a disk that the guest sees as /dev/vda."""
    return ("-drive", f"file={path},format=raw,if=virtio")


def scsi_disk(path: Path) -> tuple[str, ...]:
    """QEMU's arguments for a disk that the guest sees as /dev/sda."""
    drive = ("-drive", f"file={path},format=raw,if=none,id=d0")
    return (*drive, "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=d0")


@dataclass(kw_only=True)
class BootedGuest:
    """A running guest."""

    process: asyncio.subprocess.Process
    qmp: asyncio.StreamWriter
    seen: str = field(default="")

    async def wait_for(self, text: str, timeout: float = BOOT_SECONDS) -> str:
        """Reads the console until the text comes; returns the line, whole, that has it."""
        line = await self._read_until(re.compile(f"[^\\n]*{re.escape(text)}[^\\n]*\\n"), timeout)
        return line.rstrip("\n")

    async def wait_for_text(self, text: str, timeout: float = BOOT_SECONDS) -> None:
        """Reads the console until the text comes, which need not end its line."""
        await self._read_until(re.compile(re.escape(text)), timeout)

    async def wait_for_prompt(self, timeout: float = BOOT_SECONDS) -> None:
        """Reads the console until the shell waits for a command."""
        await self._read_until(re.compile(r":~# "), timeout)

    async def _read_until(self, pattern: re.Pattern[str], timeout: float) -> str:
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                while (found := pattern.search(self.seen)) is None:
                    block = await self.process.stdout.read(4096)
                    if not block:
                        raise AssertionError(f"QEMU ended before {pattern}; console:\n{self.seen}")
                    self.seen += block.decode(errors="replace").replace("\r", "")
        except TimeoutError:
            message = f"no {pattern} within {timeout} s; console:\n{self.seen}"
            raise AssertionError(message) from None
        self.seen = self.seen[found.end() :]
        return found[0]

    async def wait_for_end(self, timeout: float = 30.0) -> tuple[int, str]:
        """Waits until QEMU exits; its status and what was still said on the console."""
        async with asyncio.timeout(timeout):
            rest, _ = await self.process.communicate()
        console = self.seen + rest.decode(errors="replace").replace("\r", "")
        return self.process.returncode or 0, console

    async def type(self, line: str) -> None:
        """Types a line on the serial console."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def press_power_button(self) -> None:
        """As an orderly shutdown does."""
        for command in ("qmp_capabilities", "system_powerdown"):
            self.qmp.write(json.dumps({"execute": command}).encode() + b"\n")
        await self.qmp.drain()


def _direct(kernel: GuestKernel, root: str) -> tuple[str, ...]:
    files = ("-kernel", str(kernel.kernel), "-initrd", str(kernel.initrd))
    return (*files, "-append", f"{root} {KERNEL_ARGUMENTS}")


@contextlib.asynccontextmanager
async def booted(
    kernel: GuestKernel | None, root: str, *devices: str, memory: int = 128
) -> AsyncIterator[BootedGuest]:
    """Starts a guest, from its disk where there is no kernel; it is gone at the end in any case.

    ``memory`` in MiB.
    """
    direct = _direct(kernel, root) if kernel else ()
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            "qemu-system-x86_64",
            *("-accel", "tcg,tb-size=32", "-machine", "q35", "-m", str(memory)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *(*direct, *devices, "-serial", "stdio"),
            *("-chardev", f"socket,id=qmp,fd={theirs.fileno()}"),
            *("-mon", "chardev=qmp,mode=control"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
            pass_fds=(theirs.fileno(),),
        )
    _, writer = await asyncio.open_connection(sock=ours)
    try:
        yield BootedGuest(process=process, qmp=writer)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
