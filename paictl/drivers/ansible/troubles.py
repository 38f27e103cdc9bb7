"""What Ansible and ssh say when something fails, as errors that a person can act on. Pure; called by ``running`` and by plain ssh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Trouble", "task_failed", "wants_password", "why_unreachable"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happened, and what to do about it."""

    summary: str
    help: str = ""


def why_unreachable(host: str, result: Mapping[str, Any]) -> Trouble:
    """Why a host was not reached."""
    return Trouble(f"{host}: {result.get('msg', '')}")


def task_failed(host: str, task: str, result: Mapping[str, Any]) -> Trouble:
    """Why a task failed on a host that was reached."""
    return Trouble(f"{host}: {task}: {result.get('msg', '')}")


def wants_password(result: Mapping[str, Any]) -> bool:
    """Whether sudo wanted a password and had none."""
    return "Missing sudo password" in str(result.get("msg", ""))
