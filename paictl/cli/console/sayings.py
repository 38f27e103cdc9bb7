"""What each event says to a person, in a line. Pure; used by whatever shows events."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from paictl.events import Event

__all__ = ["amounts", "said"]

_DOING = {"create": "creating", "update": "updating", "replace": "replacing", "delete": "deleting", "run": "running"}
_DONE = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted", "run": "ran"}


def said(event: Event) -> str:
    """What an event says to a person, without its address; empty for what only programs want."""
    say = _SAYINGS.get(event.type)
    return say(event) if say else ""


def amounts(event: Event) -> tuple[int, int]:
    """How much of how much a ``progress`` event tells, in bytes; 0 for what it does not."""
    done, total = event.data.get("done"), event.data.get("total")
    return done if isinstance(done, int) else 0, total if isinstance(total, int) else 0


def _begun(event: Event) -> str:
    action = str(event.data.get("action", ""))
    return _DOING.get(action, action)


def _ended(event: Event) -> str:
    action = str(event.data.get("action", ""))
    seconds = event.data.get("seconds")
    took = f" ({seconds:.1f} s)" if isinstance(seconds, int | float) and seconds >= 0.1 else ""
    reason = event.data.get("reason")
    return f"failed: {reason}" if event.data.get("ok") is False else f"{_DONE.get(action, action)}{took}"


def _health(event: Event) -> str:
    # Its log follows once, where the step ends.
    detail = str(event.data.get("detail", "")).partition("\n")[0]
    return f"{event.data.get('state', '')}{f': {detail}' if detail else ''}"


def _progress(event: Event) -> str:
    done, total = amounts(event)
    return f"{event.data.get('what', '')}{f' {100 * done // total} %' if total else ''}".strip()


def _continuity(event: Event) -> str:
    held = "holds" if event.data.get("held") else "does not hold"
    return f'continuity ({event.data.get("when", "after")}): "{event.data.get("fact", "")}" {held}'


def _warning(event: Event) -> str:
    return f"warning: {event.data.get('text', '')}"


_SAYINGS: Mapping[str, Callable[[Event], str]] = {
    "step-begin": _begun,
    "step-end": _ended,
    "progress": _progress,
    "health": _health,
    "continuity": _continuity,
    "warning": _warning,
}
