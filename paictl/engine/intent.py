"""What is asked of the engine: the resources that must stand, and what the person allows. Pure values, made by the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paictl.blueprint.types import Blueprint
from paictl.engine.driver import Driver
from paictl.engine.model import Resource

__all__ = ["NOTHING_ALLOWED", "Declared", "Desired", "Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the person allows. Addresses are in the short form, ``volume/memory``.

    ``expect`` is the hash of a plan that was reviewed before; apply does exactly that plan or refuses. ``take_over``: the
    agent may have been applied from another manifest until now.
    """

    delete_data: frozenset[str] = frozenset()
    allow_destroy: bool = False
    expect: str = ""
    rollback_on_failure: bool = False
    take_over: bool = False


NOTHING_ALLOWED = Options()


@dataclass(frozen=True, slots=True)
class Declared:
    """What the running agent says of itself, as it was declared: workflow -> schedule, and the digest of its permissions."""

    schedules: Mapping[str, str] = field(default_factory=dict)
    permissions: str = ""


_NOTHING_DECLARED = Declared()


@dataclass(frozen=True, slots=True)
class Desired:
    """The resources that must stand, with what they were made from: digests of manifest and lock, and the runtime's pin.

    Without a blueprint (a rollback, a graph of a test) the driver's preflight is left out.
    """

    resources: tuple[Resource, ...]
    manifest: str = ""
    lock: str = ""
    runtime: Mapping[str, str] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)
    blueprint: Blueprint | None = None

    @classmethod
    def of(
        cls, driver: Driver, blueprint: Blueprint, *, manifest: str, lock: str, declared: Declared = _NOTHING_DECLARED
    ) -> Desired:
        """What the driver renders of a blueprint; ``manifest`` and ``lock`` are digests. All but it is kept in the release."""
        return cls(
            resources=tuple(driver.render(blueprint)),
            manifest=manifest,
            lock=lock,
            runtime={"version": blueprint.runtime.version, "digest": blueprint.runtime.digest},
            declared=declared,
            blueprint=blueprint,
        )
