"""Where one file lies inside a wheel, found by reading only the wheel's directory; called by ``resolve``, fetches no content.

A wheel is a zip archive (the binary distribution format, packaging.python.org), so ``zipfile`` reads it over a seekable
view of the remote bytes: a few kilobytes travel, whatever the wheel weighs.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from paictl.clock import Clock
from paictl.weights.failures import BadFile
from paictl.weights.transfer import Web, patiently

__all__ = ["Member", "RangedFile", "find", "inflated"]

_BLOCK = 64 * 1024
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # APPNOTE.TXT 4.3.7: signature, …, lengths of the name and of the extra field


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a wheel: its bytes lie at ``offset``, ``stored`` of them, and are ``size`` bytes once inflated."""

    path: str
    offset: int
    stored: int
    size: int
    deflated: bool
    archive_size: int


class RangedFile(io.RawIOBase):
    """A remote file as a seekable one; reads ahead in blocks, because ``zipfile`` reads a directory in small bites."""

    def __init__(self, web: Web, size: int, clock: Clock) -> None:
        super().__init__()
        self._web, self._size, self._clock = web, size, clock
        self._at = 0
        self._block, self._block_start = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        stop = self._size if size < 0 else min(self._at + size, self._size)
        if stop <= self._at:
            return b""
        if self._at < self._block_start or stop > self._block_start + len(self._block):
            self._load(stop)
        found = self._block[self._at - self._block_start : stop - self._block_start]
        self._at = stop
        return found

    def _load(self, stop: int) -> None:
        # Whoever reads near the end is after the directory, which ends there: take the whole tail at once.
        begin = min(self._at, max(0, self._size - _BLOCK)) if self._at > self._size - _BLOCK else self._at
        end = min(self._size, max(stop, begin + _BLOCK))
        self._block = patiently(lambda: self._web.read(begin, end), self._clock, self._web.url)
        self._block_start = begin


def find(archive: BinaryIO | RangedFile, size: int, path: str, wheel: str) -> Member:
    """Where ``path`` lies in the archive of ``size`` bytes; ``wheel`` names it in errors. Raises ``BadFile``."""
    try:
        with zipfile.ZipFile(cast("BinaryIO", archive)) as opened:
            names = opened.NameToInfo
            if path not in names:
                raise BadFile(f"{wheel} holds no {path}", help=_nearest(path, list(names)))
            info = names[path]
        archive.seek(info.header_offset)
        signature, name, extra = _LOCAL_HEADER.unpack(archive.read(_LOCAL_HEADER.size))
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError) as error:
        raise BadFile(f"{wheel} is not a readable wheel: {error}", help="check the package and its version") from error
    offset = info.header_offset + _LOCAL_HEADER.size + name + extra
    sound = signature == b"PK\x03\x04" and offset + info.compress_size <= size and not info.flag_bits & 1
    if not sound or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise BadFile(f"{wheel} holds {path} in a form that can't be read", help="check the package and its version")
    return Member(path, offset, info.compress_size, info.file_size, info.compress_type == zipfile.ZIP_DEFLATED, size)


def inflated(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    """A member's compressed chunks as plain ones of at most ``most`` bytes: few compressed bytes may stand for very many.

    Raises ``zlib.error`` where they are damaged.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof:
        packed = inflater.unconsumed_tail or next(chunks, b"")
        block = inflater.decompress(packed, most)
        if block:
            yield block
        elif not packed:
            return  # the input is at its end, and nothing of its output is held back any more


def _nearest(path: str, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(path, names, n=1, cutoff=0.0)
    return f"the nearest file in it is {close[0]}" if close else "the wheel is empty"
