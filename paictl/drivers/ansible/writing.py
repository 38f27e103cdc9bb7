"""Writes tasks for Ansible as YAML in which only what paictl itself wrote is a template. Used by ``acting``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Literal", "tasks_text"]


class Literal(str):
    """A text that is no template, whatever it looks like."""

    __slots__ = ()

    @classmethod
    def of(cls, value: object) -> object:
        """The same JSON data with every text in it taken as it is."""
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping):
            return {str(key): cls.of(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [cls.of(one) for one in value]
        return value


def tasks_text(tasks: Sequence[Mapping[str, Any]]) -> str:
    """A file of tasks."""
    import yaml

    # A dumper of its own: what is registered there is nobody else's.
    dumper: Any = type("_Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda _self, _data: True})
    dumper.add_representer(Literal, _represented)
    text: str = yaml.dump(list(tasks), Dumper=dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def _represented(dumper: Any, text: Literal) -> Any:
    return dumper.represent_scalar("!unsafe", str(text), style='"')
