"""What differs between a desired resource and an observed one, field by field. Called by the planner; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paictl.engine.fingerprint import absent, known_version, matches, normalise
from paictl.engine.model import Change, Observed, Resource

__all__ = ["DRIFT", "NO_DIFFERENCE", "Difference", "compare"]

DRIFT = "drift"
"""A key of specs, empty where it is desired: what of a resource's pieces is not as it was left, by name, in a word or two."""

_AS_APPLIED = "as applied"


@dataclass(frozen=True, slots=True)
class Difference:
    """The fields that differ. ``by_hand``: the label still fits, so it was the world that moved. ``keys``: top-level spec keys."""

    changes: tuple[Change, ...] = ()
    keys: frozenset[str] = frozenset()
    by_hand: bool = False


NO_DIFFERENCE = Difference()


def compare(resource: Resource, label: str, observed: Observed, before: Mapping[str, object] | None) -> Difference:
    """Compare with live values where they can be read back, else by the label.

    ``label`` is the desired spec's fingerprint; ``before`` the spec that was applied last, if it is known: it shows what
    a field was that can't be read back.
    """
    fits = matches(resource.spec, observed.fingerprint, label)
    live = {key: observed.spec[key] for key in observed.spec}
    wanted = {key: resource.spec[key] for key in resource.spec if key in live}
    unread = [key for key in resource.spec if key not in live]
    if live == wanted and (fits or (not unread and not known_version(observed.fingerprint))):
        return NO_DIFFERENCE
    keys = sorted(set(live) | set(wanted))
    if not fits and before is not None:
        live = {**before, **live}
        keys = sorted(set(live) | set(resource.spec))
    changes = tuple(change for key in keys for change in _changes(key, live.get(key), resource.spec.get(key)))
    if fits:
        return Difference(changes, _tops(changes), by_hand=True) if changes else NO_DIFFERENCE
    if changes:
        return Difference(changes, _tops(changes))
    if not unread and not known_version(observed.fingerprint):
        return NO_DIFFERENCE
    # The label says that something differs, and nothing that can be read says what: every unread key may be it.
    return Difference((Change("fingerprint", observed.fingerprint, label),), frozenset(unread))


def _changes(path: str, before: object, after: object) -> tuple[Change, ...]:
    if path == DRIFT and isinstance(before, Mapping):
        return tuple(Change(piece, words, _AS_APPLIED) for piece, words in sorted(before.items()))
    if isinstance(before, str) and before == after:
        return ()  # the common case, and the longest values: rendered files
    return _descend(path, _canonical(before), _canonical(after))


def _canonical(value: object) -> object:
    normalised = normalise(value)
    return None if absent(normalised) else normalised


def _descend(path: str, before: object, after: object) -> tuple[Change, ...]:
    if before == after and type(before) is type(after):
        return ()
    if isinstance(before, dict) and isinstance(after, dict):
        return tuple(
            change
            for key in sorted(before.keys() | after.keys())
            for change in _descend(f"{path}.{key}", before.get(key), after.get(key))
        )
    return (Change(path, before, after),)


def _tops(changes: tuple[Change, ...]) -> frozenset[str]:
    return frozenset(change.path.partition(".")[0] for change in changes)
