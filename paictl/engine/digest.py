"""The hash of a plan: over everything a person reviewed, and over nothing that differs between two looks at the same world."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from paictl.engine.model import DataEffect, Plan, Step

__all__ = ["plan_hash"]


def plan_hash(plan: Plan) -> str:
    """Short enough to type: the first 16 hexadecimal digits of SHA-256."""
    content: list[object] = [plan.agent, plan.target, [_reviewed(step) for step in plan.steps]]
    content.append([str(kept) for kept in plan.kept])
    if plan.away:
        content.append(sorted(plan.away))
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _reviewed(step: Step) -> list[object]:
    """Left out: tokens, handles, health and what is still to be downloaded, which move by themselves."""
    return [
        step.id,
        step.cause,
        [[change.path, change.before, change.after] for change in step.changes],
        step.needs,
        step.downtime,
        _lasting(step.effect),
        step.fingerprint,
        step.phase,
    ]


def _lasting(effect: DataEffect | None) -> dict[str, object] | None:
    if effect is None:
        return None
    return {name: value for name, value in asdict(effect).items() if name != "download_bytes"}
