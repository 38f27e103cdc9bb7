"""What services wrote: the last lines, and those to come. Reads the files that the supervisor writes and turns over."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from paictl.clock import Clock

__all__ = ["follow", "last_lines"]

_CHUNK = 64 * 1024
_POLL_SECONDS = 0.2


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, from the file before it, too, when it was just turned over."""
    lines = _tail(path, count)
    if len(lines) < count:
        lines = _tail(path.with_name(f"{path.name}.1"), count - len(lines)) + lines
    return lines


def follow(path: Path, clock: Clock) -> Generator[str]:
    """Every line written from now on, through turning over, until the caller has enough."""
    handle = _successor(path, None)
    if handle:
        handle.seek(0, 2)
    rest = b""
    try:
        while True:
            chunk = handle.read(_CHUNK) if handle else b""
            successor = None if chunk else _successor(path, handle)
            if successor:
                if handle:
                    # What was written after the end had been reached and before the file was turned over.
                    chunk = handle.read()
                    handle.close()
                handle = successor
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (_text(line) for line in lines)
            if not chunk and not successor:
                clock.sleep(_POLL_SECONDS)
    finally:
        if handle:
            handle.close()


def _successor(path: Path, handle: BinaryIO | None) -> BinaryIO | None:
    """The file that is there now, opened, when it is another than the open one."""
    try:
        found = path.open("rb")
    except FileNotFoundError:
        return None
    if handle is None or not os.path.sameopenfile(found.fileno(), handle.fileno()):
        return found
    found.close()
    return None


def _tail(path: Path, count: int) -> list[str]:
    if count <= 0 or not path.is_file():
        return []
    with path.open("rb") as file:
        position, content = file.seek(0, 2), b""
        while position > 0 and content.count(b"\n") <= count:
            step = min(_CHUNK, position)
            position -= step
            file.seek(position)
            content = file.read(step) + content
    return [_text(line) for line in content.splitlines()[-count:]]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
