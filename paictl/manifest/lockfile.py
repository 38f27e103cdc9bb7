"""Reads, writes and compares ``agent.lock``. The verbs ``lock`` and ``apply`` call this; what stands in it is ``lock.py``'s."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from paictl.disk import replace_file
from paictl.errors import ManifestError, Span
from paictl.manifest.dump import dump_tree
from paictl.manifest.findings import Findings, dotted
from paictl.manifest.lock import LockedTarget
from paictl.manifest.source import Source, parse

__all__ = ["LOCK_VERSION", "Lock", "diff_locks", "read_lock", "write_lock"]

LOCK_VERSION = 1
_HEADER = "# Written by `paictl lock`: what agent.yaml was resolved to. Commit it; don't edit it.\n"
_ANEW = "it is written by paictl alone: restore it from version control, or delete it and run `paictl lock`"


@dataclass(frozen=True, slots=True)
class Lock:
    """What was resolved, per target."""

    targets: Mapping[str, LockedTarget] = field(default_factory=dict)


def read_lock(path: Path) -> Lock:
    """The lock; an empty one when there is no file. Raises ``ManifestError`` with places for what is not a lock."""
    findings = Findings()
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return Lock()
    except (OSError, UnicodeDecodeError) as error:
        findings.add("not-readable", f"{path.name} can't be read: {error}", Span(str(path), 1), advice=_ANEW)
        findings.raise_errors(path.name)
    source = parse(text, str(path), path.parent, findings)
    if source is None:
        # How to mend YAML is no help with a file that nobody writes by hand.
        raise ManifestError(
            f"{path.name} is damaged", diagnostics=[replace(finding, help=_ANEW) for finding in findings]
        )
    lock = _typed(source, findings)
    findings.raise_errors(path.name)
    return lock or Lock()


def write_lock(path: Path, lock: Lock) -> bool:
    """Write the lock in one step, durably; false when the file says exactly this already and was left alone."""
    text = _HEADER + dump_tree({"lockVersion": LOCK_VERSION, "targets": _sorted(_plain(lock.targets))})
    with contextlib.suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            return False
    # It goes into git: readable like the manifest beside it.
    replace_file(path, text.encode(), 0o644)
    return True


def diff_locks(old: Lock, new: Lock) -> list[str]:
    """One line a difference: ``+ path: value``, ``- path: value`` or ``~ path: before -> after``, in the order of paths."""
    before, after = dict(_leaves(_plain(old.targets), ())), dict(_leaves(_plain(new.targets), ()))
    lines = []
    for path in sorted({*before, *after}):
        name = ".".join(path)
        if path not in before:
            lines.append(f"+ {name}: {after[path]}")
        elif path not in after:
            lines.append(f"- {name}: {before[path]}")
        elif before[path] != after[path]:
            lines.append(f"~ {name}: {before[path]} -> {after[path]}")
    return lines


def _typed(source: Source, findings: Findings) -> Lock | None:
    version = source.tree.get("lockVersion")
    if version != LOCK_VERSION:
        span = source.places[("lockVersion",) if "lockVersion" in source.tree else ()].value
        newer = isinstance(version, int) and version > LOCK_VERSION
        advice = "use the paictl that wrote it, or a newer one" if newer else _ANEW
        findings.add(
            "unknown-version", f"lockVersion is {version}, and this paictl reads {LOCK_VERSION}", span, advice=advice
        )
        return None
    try:
        # As JSON: strict Python input would have to be instances of the dataclasses already.
        text = json.dumps({"targets": source.tree.get("targets") or {}})
        return TypeAdapter(Lock).validate_json(text, strict=True)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            path = each["loc"]
            known = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in source.places)
            findings.add("invalid-value", f"{dotted(path)}: {each['msg']}", source.places[known].value, advice=_ANEW)
    return None


def _plain(value: Any) -> Any:
    """Dataclasses as mappings; what is empty is left out, so that a new field changes no old lock."""
    if dataclasses.is_dataclass(value):
        items = {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
        defaults = {each.name: each.default for each in dataclasses.fields(value)}
        return {key: item for key, item in items.items() if item != {} and item != defaults[key]}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _sorted(value: Any) -> Any:
    return {key: _sorted(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def _leaves(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, key))]
    return [(path, value)] if path else []
