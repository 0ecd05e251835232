"""Whether ``/dev/kvm`` really runs guests here, found out by running one and looking at the clock.

On some machines every ioctl of KVM succeeds and yet each instruction is emulated, so that
a kernel takes minutes. Only the time of some 200,000 instructions tells: about a millisecond
on a processor, a tenth of a second and more where it is emulated. The guest runs in a child
process (``python -m gantry.host.kvm_probe``), which may hang or crash without harm.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import sys
import time
from pathlib import Path

import msgspec

from gantry.host import command, machine
from gantry.model.errors import OperationFailed

INSTRUCTIONS = 200_000
THRESHOLD_MS = 30.0
_LIMIT = 5.0
"""Seconds after which the child is ended: then it is no usable KVM."""

# Numbers of <linux/kvm.h>.
_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_SET_USER_MEMORY_REGION = 0x4020AE46
_RUN = 0xAE80
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84
_SET_REGS = 0x4090AE82
_EXIT_HLT = 5
_CODE = 0x1000
_MEMORY = 0x10000


class Probed(msgspec.Struct, frozen=True):
    """``usable``, and in words why or why not."""

    usable: bool
    why: str
    boot_id: str = ""


async def probe(cache: Path) -> Probed:
    """Whether KVM is of use; the answer is kept in the file ``cache`` until the next boot."""
    boot = machine.boot_id()
    try:
        known = msgspec.json.decode(cache.read_bytes(), type=Probed)
        if known.boot_id == boot:
            return known
    except (OSError, msgspec.DecodeError):
        pass
    found = msgspec.structs.replace(await _probe(), boot_id=boot)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(msgspec.json.encode(found))
    except OSError:
        pass  # asked again next time; the answer is right all the same
    return found


async def _probe() -> Probed:
    if not Path("/dev/kvm").exists():
        return Probed(False, "/dev/kvm is not there")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Probed(False, "no right to use /dev/kvm (join the group kvm)")
    argv = [sys.executable, "-m", "gantry.host.kvm_probe"]
    try:
        done = await command.run(argv, timeout=_LIMIT)
        answer = msgspec.json.decode(done.stdout, type=dict[str, float | str])
    except (OperationFailed, msgspec.DecodeError):
        return Probed(False, f"/dev/kvm is there, but a tiny guest crashed or took {_LIMIT:g} s")
    return judge(answer)


def judge(answer: dict[str, float | str]) -> Probed:
    """What the child's answer (``{"ms": …}`` or ``{"error": …}``) means."""
    if "error" in answer:
        return Probed(False, f"/dev/kvm is there, but a tiny guest does not run: {answer['error']}")
    took = float(answer["ms"])
    if took > THRESHOLD_MS:
        return Probed(
            False,
            f"/dev/kvm is there, but {INSTRUCTIONS} instructions took {took:.0f} ms:"
            f" not run by the processor (limit {THRESHOLD_MS:.0f} ms)",
        )
    return Probed(True, f"{INSTRUCTIONS} instructions took {took:.1f} ms")


def run_guest() -> float:
    """Run the loop in real mode; milliseconds. OSError where KVM refuses a step."""
    import ctypes  # for the child alone

    # mov ecx, n; again: dec ecx; jnz again; hlt  (two instructions a round)
    code = b"\x66\xb9" + struct.pack("<I", INSTRUCTIONS // 2) + b"\x66\x49\x75\xfc\xf4"
    device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(device, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[_CODE : _CODE + len(code)] = code
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0, _MEMORY, address))
    vcpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
    shared = mmap.mmap(vcpu, fcntl.ioctl(device, _GET_VCPU_MMAP_SIZE))
    segments = bytearray(312)
    fcntl.ioctl(vcpu, _GET_SREGS, segments)
    struct.pack_into("<Q", segments, 0, 0)  # base of CS
    struct.pack_into("<H", segments, 12, 0)  # its selector
    fcntl.ioctl(vcpu, _SET_SREGS, bytes(segments))
    registers = [0] * 18
    registers[16], registers[17] = _CODE, 2  # rip, rflags
    fcntl.ioctl(vcpu, _SET_REGS, struct.pack("<18Q", *registers))
    begun = time.monotonic()
    fcntl.ioctl(vcpu, _RUN, 0)
    took = (time.monotonic() - begun) * 1000
    reason = struct.unpack_from("<I", shared, 8)[0]
    if reason != _EXIT_HLT:
        raise OSError(0, f"the guest stopped with exit reason {reason}")
    return took


def main() -> None:
    """The child: print the answer as JSON."""
    try:
        answer: dict[str, float | str] = {"ms": run_guest()}
    except OSError as error:
        answer = {"error": error.strerror or str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
