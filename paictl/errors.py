"""The one tree of errors, each with its exit code, and the one shape of every message about a manifest.

Raised everywhere, caught in one place: ``cli.main`` turns them into text or JSON and into the exit code::

    PaictlError                    1   failed, nothing changed
    ├── UsageError                 2   wrong usage
    │   └── ManifestError          2   the manifest is invalid; carries every diagnostic at once
    ├── Refused                    4   refused before any change
    │   ├── LockHeld               4   another paictl works on this agent and target
    │   ├── StalePlan              4   the plan that was reviewed is not the plan of now
    │   ├── ProtectedData          4   data would be deleted, or most of what stands
    │   └── Unavailable            4   the manifest asks for what this driver does not have (yet)
    ├── Unreachable                1   the target can't be read; never "nothing exists"
    ├── PartlyApplied              5   something changed before it failed
    └── Interrupted          130/143   a signal; state is consistent
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Diagnostic",
    "ExitCode",
    "Interrupted",
    "LockHeld",
    "ManifestError",
    "PaictlError",
    "PartlyApplied",
    "ProtectedData",
    "Refused",
    "Severity",
    "Span",
    "StalePlan",
    "Unavailable",
    "Unreachable",
    "UsageError",
]

Severity = Literal["error", "warning", "info"]


class ExitCode(IntEnum):
    """What the process returns; page one of the documentation and one table test hold the same list."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PENDING = 3
    REFUSED = 4
    PARTLY = 5
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text a person wrote. ``line`` and ``column`` count from 1; ``length`` is in characters."""

    file: str
    line: int
    column: int = 1
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message about a manifest: what, where, and the one thing to do next.

    ``code`` is a stable kebab-case id, listed in ``docs/errors.md``; ``snippet`` is the line itself, as written.
    """

    code: str
    summary: str
    span: Span | None = None
    snippet: str = ""
    help: str = ""
    severity: Severity = "error"


@dataclass(eq=False)
class PaictlError(Exception):
    """What a person is told instead of a traceback: what happened, where, and what to do next."""

    summary: str
    help: str = ""
    diagnostics: Sequence[Diagnostic] = field(default=())

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    retry_helps: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.summary


class UsageError(PaictlError):
    """The command line itself is wrong."""

    code = "usage"
    exit_code = ExitCode.USAGE


class ManifestError(UsageError):
    """The manifest is invalid. ``diagnostics`` holds every finding, sorted by place."""

    code = "invalid-manifest"


class Refused(PaictlError):
    """Nothing was changed, because going on would break a promise."""

    code = "refused"
    exit_code = ExitCode.REFUSED


class LockHeld(Refused):
    """Another live paictl holds the lock of this agent and target; the summary names who, where and since when."""

    code = "lock-held"
    retry_helps = True


class StalePlan(Refused):
    """The world or the manifest moved between review and apply."""

    code = "stale-plan"
    retry_helps = True


class ProtectedData(Refused):
    """The plan deletes data, or most of what stands, and nobody said so explicitly."""

    code = "protected-data"


class Unavailable(Refused):
    """The manifest is valid, but asks for something that the chosen driver can't give yet."""

    code = "unavailable"


class Unreachable(PaictlError):
    """The target can't be read, or only in part. No plan is ever made from that."""

    code = "unreachable"
    retry_helps = True


class PartlyApplied(PaictlError):
    """Some steps were done before one failed; ``paictl status`` says which, and the next apply goes on from there."""

    code = "partly-applied"
    exit_code = ExitCode.PARTLY
    retry_helps = True


@dataclass(eq=False)
class Interrupted(PaictlError):
    """A signal ended the run after the running steps had ended; the state is consistent."""

    signal: int = 2

    code = "interrupted"
    exit_code = ExitCode.INTERRUPTED
    retry_helps = True
