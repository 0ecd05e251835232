"""Files in the guest's root file system, read and written without mounting it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from guest import programs
from guest.inputs import Fault

_SECONDS = 300.0
_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")


class RootFiles:
    """The ext4 file system that begins at byte ``offset`` of a disk."""

    def __init__(self, disk: str, offset: int) -> None:
        programs.require(debugfs="e2fsprogs", e2fsck="e2fsprogs", tune2fs="e2fsprogs")
        if "?" in disk:
            raise Fault(f"the path {disk} has a question mark, which e2fsprogs cannot take")
        self._where = f"{disk}?offset={offset}"

    def settle(self) -> None:
        """Replay the journal of a guest that was cut off: it would undo what is written here."""
        try:
            programs.run(["e2fsck", "-p", self._where], timeout=_SECONDS)
        except Fault as error:
            if "status 1:" not in str(error):
                raise Fault(
                    f"the root file system cannot be used, was this OS installed here? {error}"
                ) from None

    def renew_uuid(self, uuid: str) -> None:
        """Give the file system a UUID of its own."""
        programs.run(["tune2fs", "-U", uuid, self._where], timeout=_SECONDS)

    def uuid(self) -> str:
        """The file system's UUID."""
        said = programs.run(["tune2fs", "-l", self._where], timeout=_SECONDS).decode()
        found = re.search(r"^Filesystem UUID:\s+([0-9a-f-]{36})$", said, re.MULTILINE)
        if not found:
            raise Fault("the root file system has no UUID")
        return found[1]

    def read(self, path: str) -> bytes:
        """A file's content; empty where there is none."""
        return self._ask(f"cat {path}")

    def names(self, directory: str) -> list[str]:
        """The plain names in a directory."""
        said = self._ask(f"ls -p {directory}").decode(errors="replace")
        fields = (line.split("/") for line in said.splitlines() if line.startswith("/"))
        return [field[5] for field in fields if len(field) > 5 and field[5] not in (".", "..")]

    def change(self, files: dict[str, tuple[bytes, int, int]], remove: list[str]) -> None:
        """Write files (content, mode, group) and remove others; Fault where one is not as asked.

        debugfs tells of no failure by its exit status, so all is read back.
        """
        with tempfile.TemporaryDirectory() as directory:
            lines = [f"rm {path}" for path in remove]
            for number, (path, (content, mode, group)) in enumerate(files.items()):
                source = Path(directory, str(number))
                source.write_bytes(content)
                lines += [f"rm {path}", f"write {source} {path}"]
                lines += [f"set_inode_field {path} mode 0{0o100000 | mode:o}"]
                lines += [
                    f"set_inode_field {path} {field} {value}"
                    for field, value in (("uid", 0), ("gid", group))
                ]
            if not all(_PLAIN.fullmatch(path) for path in (*files, *remove)):
                raise Fault("a file's name in the guest has letters that cannot be written")
            text = "\n".join(lines).encode() + b"\n"
            argv = ["debugfs", "-w", "-f", "-", self._where]
            programs.run(argv, timeout=_SECONDS, stdin=text)
        for path, (content, _, _) in files.items():
            if self.read(path) != content:
                raise Fault(f"cannot write {path} into the guest's file system: is it full?")

    def _ask(self, command: str) -> bytes:
        argv = ["debugfs", "-R", command, self._where]
        return programs.run(argv, timeout=_SECONDS, environment={"DEBUGFS_PAGER": "cat"})
