"""A driver whose target is a file: for the engine's tests, the documentation and ``driver: fake``. Obeys the same contract."""

from paictl.drivers.fake.driver import FakeDriver
from paictl.drivers.fake.faults import Faults
from paictl.drivers.fake.world import Thing, World

__all__ = ["FakeDriver", "Faults", "Thing", "World"]
