"""Writes tasks for Ansible as YAML in which only what paictl itself wrote is a template. Used by ``acting``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Literals", "tasks_text"]


class Literals(dict[str, object]):
    """JSON data by name, in which no text is a template, whatever it looks like."""


def tasks_text(tasks: Sequence[Mapping[str, Any]]) -> str:
    """A file of tasks."""
    import yaml

    # A dumper of its own: what is registered there is nobody else's.
    dumper: Any = type("_Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda _self, _data: True})
    dumper.add_representer(Literals, _represented)
    text: str = yaml.dump(list(tasks), Dumper=dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def _represented(dumper: Any, literals: Literals) -> Any:
    # The tag stands at the mapping: at a text, Ansible would take "true" for a truth and "0815" for a number.
    return dumper.represent_mapping("!unsafe", dict(literals))
