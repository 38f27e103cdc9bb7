"""What the native driver brings to the contract suite: two services and a room of real processes, and a user unit as the extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.drivers.native import NativeDriver
from paictl.drivers.native.processes import marked
from paictl.drivers.native.supervision import _Control
from paictl.drivers.native.units import unit_path
from paictl.engine.driver import Driver, Scope, SecretReader
from paictl.engine.model import Address, Resource
from tests.drivers.native.conftest import World, light_runtime, new_world

__all__ = ["native"]


class _Native:
    def __init__(self, world: World) -> None:
        self._world = world
        self.driver: Driver = world.driver
        self.scope: Scope = world.scope
        self.secrets: SecretReader = world.read
        world.blueprint = replace(world.blueprint, start_on_boot=True)
        self.first: Sequence[Resource] = world.resources()
        self.data = self._address("volume/door")
        self.service = self._address("service/inner")
        self.extra = self._address("unit/boot")
        self.third: Sequence[Resource] = [one for one in self.first if one.address != self.extra]
        world.config("inner", say="something else")
        self.second: Sequence[Resource] = world.resources()

    def reopen(self) -> Driver:
        return NativeDriver()

    def stop(self, address: Address) -> None:
        with _Control(self._world.layout) as control:
            control("stopProcess", address.name)

    def place(self, resource: Resource) -> None:
        path = unit_path(self.scope.agent)
        path.parent.mkdir(parents=True)
        path.write_text("[Service]\nExecStart=/bin/true\n")

    def stands(self, address: Address) -> bool:
        layout = self._world.layout
        root, name = layout.root, address.name
        there = {
            "directory": (root if name == "home" else layout.keys).is_dir(),
            "file": (root / name).exists(),
            "secret": (layout.secrets / name).exists(),
            "service": layout.service_config(name).exists(),
            "supervisor": bool(marked(layout)),
            "unit": unit_path(self.scope.agent).exists(),
            "venv": any((root / "venv").glob("*")),
            "volume": (root / "data" / name).is_dir(),
        }
        return there[address.kind]

    def leftovers(self) -> Sequence[str]:
        layout = self._world.layout
        paths = (layout.root, layout.volatile, layout.socket, unit_path(self.scope.agent))
        return [*map(str, marked(layout)), *(str(path) for path in paths if path.exists())]

    def _address(self, short: str) -> Address:
        return self._world.resource(short).address


@contextmanager
def native(folder: Path) -> Iterator[_Native]:
    """A target of its own below ``folder``, which is two below this worker's temporary folder."""
    runtime = light_runtime(folder.parents[1])
    with pytest.MonkeyPatch.context() as patch, new_world(runtime, folder, patch, unconfined=True) as world:
        yield _Native(world)
