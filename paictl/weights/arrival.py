"""One model file on its way from where it was resolved to: received in parts, resumed, unpacked, hashed. Used by ``fetch`` alone.

Knows no cache: it fills the files beside the name that it is given, and ``fetch`` takes the whole one from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paictl.clock import Clock
from paictl.events import Emit, Event
from paictl.weights.cache import hash_file, room
from paictl.weights.failures import BadFile, NoSpace, SourceUnreachable
from paictl.weights.resolve import Resolved, hub_headers
from paictl.weights.transfer import ATTEMPTS, NoRanges, Reply, Transient, Web, given_up, pause
from paictl.weights.wheel import inflated

__all__ = ["Arrival", "Progress"]

_CHUNK = 1024 * 1024
_EVERY_SECONDS = 0.2


class Progress:
    """Says how far a download is, not more often than a person can read."""

    def __init__(self, emit: Emit, address: str, resolved: Resolved, clock: Clock) -> None:
        self._emit, self._address, self._file, self._clock = emit, address, resolved.file, clock
        self._last = float("-inf")

    def at(self, done: int, total: int, doing: str = "download") -> None:
        """So many bytes of so many are done."""
        now = self._clock.monotonic()
        if now - self._last >= _EVERY_SECONDS or done >= total:
            self._last = now
            self._emit(
                Event("progress", self._address, {"what": f"{doing} {self._file}", "done": done, "total": total})
            )

    def wait(self) -> None:
        """Somebody else fetches it."""
        self._emit(
            Event(
                "progress",
                self._address,
                {"what": f"waiting for another paictl that fetches {self._file}", "done": 0, "total": 0},
            )
        )


class Arrival:
    """One file on its way: ``part`` grows to all its bytes as they travel, ``whole`` is the model file itself."""

    def __init__(self, resolved: Resolved, part: Path, progress: Progress, clock: Clock) -> None:
        self._resolved, self._progress, self._clock = resolved, progress, clock
        self._part = part.with_name(f"{part.name}.part")
        self._note = part.with_name(f"{part.name}.json")
        member = resolved.member
        self._start = member.offset if member else 0
        self._length = member.stored if member else resolved.size
        self._total = member.archive_size if member else resolved.size
        self._inflate = member is not None and member.deflated
        self.whole = part.with_name(f"{part.name}.whole") if self._inflate else self._part
        self.resumed = False

    def run(self) -> str:
        """All of it; returns its sha256."""
        self._part.parent.mkdir(parents=True, exist_ok=True)
        have = self._kept()
        self.resumed = have > 0
        needed = self._length - have + (self._resolved.size if self._inflate else 0)
        try:
            with room(self._part.parent, needed):
                if self._resolved.url.startswith("file:"):
                    self._copy()
                else:
                    self._download(have)
                return self._unpack() if self._inflate else self._finish()
        except NoSpace as error:
            if error.__cause__ is not None:  # it filled up under our hands: it must not stay full because of us
                self.drop()
            raise
        except BadFile:
            self.drop()
            raise

    def drop(self) -> None:
        """Forget what has arrived."""
        for path in (self.whole, self._part, self._note):
            path.unlink(missing_ok=True)

    def _kept(self) -> int:
        """How many bytes an earlier run left that still belong to this file."""
        try:
            note = json.loads(self._note.read_bytes())
            size = self._part.stat().st_size
        except (OSError, ValueError):
            return 0
        fits = isinstance(note, dict) and (note.get("start"), note.get("total")) == (self._start, self._total)
        return size if fits and size <= self._length else 0

    def _download(self, have: int) -> None:
        headers = hub_headers() if self._resolved.source.scheme == "hf" else {}
        failures = 0
        with Web(self._resolved.url, headers) as web:
            while have < self._length:
                before = have
                try:
                    self._receive(web, have)
                except Transient as failure:
                    have = self._kept()
                    failures = 1 if have > before else failures + 1
                    if failures >= ATTEMPTS:
                        raise given_up(self._resolved.source.text, failure) from failure
                    self._clock.sleep(pause(failures, failure))
                except NoRanges as answer:
                    raise SourceUnreachable(
                        f"{self._resolved.source}: the server no longer gives parts of the file", help="try again later"
                    ) from answer
                else:
                    have = self._length

    def _receive(self, web: Web, have: int) -> None:
        etag = self._etag() if have else ""
        stop = self._start + self._length if self._resolved.member else None
        with web.open(self._start + have, stop, etag) as reply:
            have = self._continued(reply, have, etag)
            with self._part.open("r+b" if have else "wb") as out:
                out.seek(have)
                for chunk in reply.chunks:
                    have += len(chunk)
                    if have > self._length:
                        raise SourceUnreachable(
                            f"{self._resolved.source}: the server sends more than it announced", help="try again later"
                        )
                    out.write(chunk)
                    self._progress.at(have, self._length)
        if have < self._length:
            raise Transient(f"the connection ended after {have} of {self._length} bytes")

    def _continued(self, reply: Reply, have: int, etag: str) -> int:
        """From where the reply goes on: ``have``, or 0 where the server sends all of it or the file has changed there."""
        if reply.total not in {None, self._total}:
            raise SourceUnreachable(
                f"{self._resolved.source}: the file there has {reply.total} bytes now, not {self._total}",
                help="run `paictl lock` to accept the new one",
            )
        if reply.partial and reply.start != self._start + have:
            raise NoRanges
        if not reply.partial and self._resolved.member:
            raise NoRanges
        if reply.partial and have and etag and reply.etag and reply.etag != etag:
            self.drop()
            raise Transient("the file changed on the server in the middle of the download")
        if not reply.partial:
            have = 0
        if not have:
            self._note.write_text(
                json.dumps({"start": self._start, "total": self._total, "etag": reply.etag}), encoding="utf-8"
            )
        return have

    def _etag(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(self._note.read_bytes()).get("etag", ""))
        return ""

    def _copy(self) -> None:
        """The bytes out of a wheel that lies on this machine."""
        wheel = Path(unquote(urlsplit(self._resolved.url).path))
        with wheel.open("rb") as archive, self._part.open("wb") as out:
            archive.seek(self._start)
            left = self._length
            while left and (chunk := archive.read(min(_CHUNK, left))):
                out.write(chunk)
                left -= len(chunk)
        if left:
            raise BadFile(f"{wheel} ends early", help="delete it and try again")

    def _finish(self) -> str:
        with self._part.open("rb") as handle:
            os.fsync(handle.fileno())
        self._progress.at(self._length, self._length, "check")
        return hash_file(self._part)

    def _unpack(self) -> str:
        """Inflate the part into the whole file. The announced size bounds what a hostile archive can write."""
        digest, written, size = hashlib.sha256(), 0, self._resolved.size
        try:
            with self._part.open("rb") as packed, self.whole.open("wb") as out:
                for block in inflated(iter(lambda: packed.read(_CHUNK), b""), _CHUNK):
                    written += len(block)
                    if written > size:
                        raise self._damaged("the archive holds more than it announces")
                    digest.update(block)
                    out.write(block)
                    self._progress.at(written, size, "unpack")
                out.flush()
                os.fsync(out.fileno())
        except zlib.error as error:
            raise self._damaged(f"its compressed bytes are damaged ({error})") from error
        if written != size:
            raise self._damaged(f"it has {written} bytes instead of the announced {size}")
        return digest.hexdigest()

    def _damaged(self, what: str) -> BadFile:
        return BadFile(
            f"{self._resolved.source}: {what}",
            help="run the same command again; if it stays so, don't use this package",
        )
