"""Whose an agent is: the manifest that it is applied from. Asked by ``reconcile`` before it plans, remembered by the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from paictl.engine.driver import Scope
from paictl.errors import Refused

__all__ = ["Source", "check", "source_from_json", "source_to_json"]


@dataclass(frozen=True, slots=True)
class Source:
    """One manifest: its path on one machine, and where in which repository it is kept (empty outside of one)."""

    path: str
    host: str
    repository: str = ""

    def __str__(self) -> str:
        return f"{self.path} on {self.host}"

    def is_same(self, other: Source) -> bool:
        """Whether both are one manifest: the same file, or the same one of a repository in another clone of it."""
        by_path = (self.path, self.host) == (other.path, other.host)
        return by_path or bool(self.repository and self.repository == other.repository)


def check(scope: Scope, known: Source | None, here: Source | None, *, take_over: bool = False) -> None:
    """Raise ``Refused`` when the agent is applied from another manifest than this one.

    ``here`` is None for a manifest of no file (standard input), which claims nothing. A manifest that is gone from where it
    was has been moved: whoever moves a folder goes on without being asked.
    """
    if known is None or here is None or take_over or known.is_same(here) or _gone(known, here.host):
        return
    raise Refused(
        f"{scope.agent} on {scope.target} is applied from {known}; this is {here}",
        help="Are they two agents? Give one of them another metadata.name. If this one is to take its place, say --take-over.",
    )


def _gone(source: Source, host: str) -> bool:
    # What may not be looked at is there.
    try:
        Path(source.path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return source.host == host
    except OSError:
        return False
    return False


def source_to_json(source: Source) -> dict[str, str]:
    """JSON without what is empty."""
    return {name: value for name, value in asdict(source).items() if value}


def source_from_json(content: Mapping[str, object] | None) -> Source | None:
    """The source of ``source_to_json``; raises ``KeyError`` when it is not one."""
    if content is None:
        return None
    return Source(str(content["path"]), str(content["host"]), str(content.get("repository", "")))
