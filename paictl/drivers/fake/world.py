"""A fake world: things in an append-only file of JSON lines, so that it outlives the process and counts every effect."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paictl.engine.model import Owner

__all__ = ["Thing", "World"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands: a short address, and an instance where two of it may stand side by side."""

    address: str
    spec: Mapping[str, Any]
    owner: Owner = "mine"
    fingerprint: str = ""
    instance: str = ""
    running: bool = True
    holds_data: bool = False
    depends_on: tuple[str, ...] = ()
    place: str = ""

    @property
    def key(self) -> Key:
        """What tells it apart from every other thing."""
        return (self.address, self.instance)


class World:
    """The things of one world. Each change is one line; one that a kill tore never happened.

    A line begins on a new one, too: so the rest of a torn line stays by itself, and is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._things: dict[Key, Thing] = {}
        self._tokens: dict[Key, int] = {}
        self._effects: list[str] = []
        self._inventory: Mapping[str, object] | None = None
        self._offset = 0
        self._writing = threading.RLock()

    @property
    def things(self) -> dict[Key, Thing]:
        """Everything that stands now, whoever made it."""
        self._refresh()
        return dict(self._things)

    @property
    def effects(self) -> list[str]:
        """Everything that ever happened here, in order, such as ``create service/agent``."""
        self._refresh()
        return list(self._effects)

    @property
    def inventory(self) -> Mapping[str, object] | None:
        """What the engine keeps here."""
        self._refresh()
        return self._inventory

    def get(self, key: Key) -> Thing | None:
        """The thing of that key, if it stands."""
        self._refresh()
        return self._things.get(key)

    def token(self, key: Key) -> str:
        """Changes whenever the thing does."""
        return str(self._tokens.get(key, 0))

    def put(self, thing: Thing, effect: str = "") -> None:
        """Make a thing so; ``effect`` is what is counted, if anything."""
        self._append({"put": asdict(thing), "effect": effect})

    def remove(self, key: Key, effect: str = "") -> None:
        """Have a thing gone."""
        self._append({"remove": list(key), "effect": effect})

    def keep(self, inventory: Mapping[str, object]) -> None:
        """Keep the engine's record."""
        self._append({"inventory": dict(inventory)})

    def _append(self, line: Mapping[str, object]) -> None:
        with self._writing:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, b"\n" + json.dumps(line).encode() + b"\n")
            finally:
                os.close(descriptor)
            self._refresh()

    def _refresh(self) -> None:
        """Read what was written since, by whichever process."""
        with self._writing:
            try:
                if self.path.stat().st_size == self._offset:
                    return
            except FileNotFoundError:
                return
            with self.path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._offset += len(whole)
            for text in whole.splitlines():
                with suppress(json.JSONDecodeError):
                    self._apply(json.loads(text))

    def _apply(self, line: Mapping[str, Any]) -> None:
        if "inventory" in line:
            self._inventory = line["inventory"]
            return
        if line["effect"]:
            self._effects.append(line["effect"])
        if "put" in line:
            content = line["put"]
            thing = Thing(**{**content, "depends_on": tuple(content["depends_on"])})
            self._things[thing.key] = thing
            self._tokens[thing.key] = self._tokens.get(thing.key, 0) + 1
        else:
            self._things.pop((line["remove"][0], line["remove"][1]), None)
