"""What can go wrong between a model's source and this machine, as branches of the project's one tree of errors.

Raised in ``paictl.weights`` and ``paictl.fit``, caught where every error is::

    PaictlError
    ├── SourceUnreachable     1   the network, or whoever answers there, does not give the file
    ├── WrongHash             1   the bytes that came are not the ones that were asked for
    ├── BadFile               1   the file is not what its name says
    └── Refused
        ├── NotCached         4   --offline, and the file is not here
        └── NoSpace           4   the disk has no room for it
"""

from __future__ import annotations

from paictl.errors import PaictlError, Refused

__all__ = ["BadFile", "NoSpace", "NotCached", "SourceUnreachable", "WrongHash"]


class SourceUnreachable(PaictlError):
    """The source does not answer, or says that it has no such file."""

    code = "source-unreachable"
    retry_helps = True


class WrongHash(PaictlError):
    """The file's sha256 is not the expected one; the summary holds both."""

    code = "wrong-hash"


class BadFile(PaictlError):
    """A model file that can't be read as what it should be: truncated, hostile or of another format."""

    code = "bad-model-file"


class NotCached(Refused):
    """Nothing may be downloaded (``--offline``), and the file is not in the cache."""

    code = "not-cached"


class NoSpace(Refused):
    """The disk has no room; whatever stood before stands unchanged."""

    code = "no-space"
    retry_helps = True
