"""Collects what is wrong with a manifest, so that everything is told at once. Every check reports here; none raises alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from paictl.errors import Diagnostic, ManifestError, Severity, Span
from paictl.manifest.codes import CODES

__all__ = ["Finding", "Findings", "TreePath", "dotted", "nearest"]

TreePath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong at a path of the tree. ``at_key`` points at the key instead of the value."""

    code: str
    path: TreePath
    summary: str
    help: str = ""
    at_key: bool = False
    severity: Severity = "error"


@dataclass(slots=True)
class Findings:
    """Diagnostics as they come in, with the texts that their snippets are cut from."""

    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _found: dict[tuple[str, Span | None, str], Diagnostic] = field(default_factory=dict)
    _masked: list[Span] = field(default_factory=list)

    def add(
        self, code: str, summary: str, span: Span | None = None, *, advice: str = "", severity: Severity = "error"
    ) -> None:
        """Report; the same finding at the same place counts once."""
        if code not in CODES:
            message = f"the diagnostic code {code!r} is not listed in codes.py"
            raise KeyError(message)
        self._found.setdefault((code, span, summary), Diagnostic(code, summary, span, "", advice, severity))

    def mask(self, span: Span) -> None:
        """What stands there is a secret: its line is shown without it, and nothing else is said about it."""
        self._masked.append(span)

    def __iter__(self) -> Iterator[Diagnostic]:
        told = {span for (code, span, _) in self._found if code == "literal-secret"}
        for diagnostic in sorted(self._found.values(), key=_place):
            hidden = diagnostic.span is not None and self._hides(diagnostic.span)
            if hidden and diagnostic.code != "literal-secret" and told:
                continue
            yield Diagnostic(
                diagnostic.code,
                diagnostic.summary,
                diagnostic.span,
                self._snippet(diagnostic.span),
                diagnostic.help,
                diagnostic.severity,
            )

    def says(self, span: Span) -> bool:
        """Whether something was found at exactly this place."""
        return any(found == span for _, found, _ in self._found)

    @property
    def errors(self) -> bool:
        """Whether anything found is an error."""
        return any(diagnostic.severity == "error" for diagnostic in self._found.values())

    def warnings(self) -> tuple[Diagnostic, ...]:
        """What does not stop anything."""
        return tuple(diagnostic for diagnostic in self if diagnostic.severity != "error")

    def raise_errors(self, file: str) -> None:
        """Raise one ``ManifestError`` with everything found, if there is any error."""
        if not self.errors:
            return
        diagnostics = tuple(self)
        count = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
        raise ManifestError(f"{file} has {count} error{'s' if count > 1 else ''}", diagnostics=diagnostics)

    def _hides(self, span: Span) -> bool:
        return any(
            m.file == span.file and m.line == span.line and m.column <= span.column < m.column + m.length
            for m in self._masked
        )

    def _snippet(self, span: Span | None) -> str:
        if span is None:
            return ""
        lines = self.lines.get(span.file, ())
        text = lines[span.line - 1] if span.line <= len(lines) else ""
        for masked in self._masked:
            if masked.file == span.file and masked.line == span.line:
                start = masked.column - 1
                text = text[:start] + "*" * masked.length + text[start + masked.length :]
        return text


def _place(diagnostic: Diagnostic) -> tuple[str, int, int, str]:
    span = diagnostic.span
    return (span.file, span.line, span.column, diagnostic.code) if span else ("", 0, 0, diagnostic.code)


def dotted(path: Iterable[str | int]) -> str:
    """``spec.models.chat`` or ``spec.routing.chat[0]``; ``the manifest`` for the root."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the manifest"


def nearest(name: str, names: Iterable[str] | Mapping[str, object], kind: str = "names") -> str:
    """One help sentence: the nearest valid name, else all of them."""
    known = sorted(names)
    close = get_close_matches(name, known, n=1, cutoff=0.6) or get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"valid {kind} here: {shown}" if known else f"there are no {kind} to choose from"
