"""Whether every image of a blueprint can be had and runs on its engine. Called by ``preflight``; pulls nothing."""

from __future__ import annotations

from collections.abc import Iterator

from paictl.blueprint.images import PUBLISHED
from paictl.blueprint.runtime import runtime_pin
from paictl.blueprint.types import Blueprint
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.pins import published
from paictl.drivers.docker.registries import described, fits
from paictl.engine.model import Observation
from paictl.errors import PaictlError, Refused
from paictl.render.containers import image

__all__ = ["check"]


def check(connection: Connection, blueprint: Blueprint, observation: Observation, *, offline: bool) -> None:
    """Raise ``Refused`` for one that is for another processor, that nobody has, or that may not be fetched."""
    builds = image(blueprint) not in {str(one.spec.get("tag")) for one in observation.resources}
    if builds and blueprint.runtime.digest != runtime_pin().digest:
        raise Refused(
            f"the lock pins the runtime {blueprint.runtime.digest[:12]} ({blueprint.runtime.version}), of which neither the "
            "engine has the image nor this paictl the code",
            help="Run `paictl lock` to take the runtime of this paictl, and apply again.",
        )
    missing = [one for one in dict.fromkeys(_wanted(blueprint, builds=builds)) if not _stands(connection, one)]
    if missing and offline:
        raise Refused(
            f"{', '.join(missing)}: not on the engine, and --offline forbids to fetch",
            help="Run it once without --offline.",
        )
    for reference in missing:
        _must_be_published(connection, reference)


def _wanted(blueprint: Blueprint, *, builds: bool) -> Iterator[str]:
    """What the containers run, and what the runtime's own image is built upon if it is yet to be built."""
    if builds:
        yield blueprint.base or PUBLISHED["base"]
    for service in blueprint.services:
        if service.upstream:
            yield service.upstream.reference


def _stands(connection: Connection, reference: str) -> bool:
    found = described(connection.api, reference)
    wrong = fits(found, f"linux/{connection.arch}", reference) if found else None
    if wrong is not None:
        raise wrong
    return found is not None


def _must_be_published(connection: Connection, reference: str) -> None:
    if reference.startswith("sha256:"):
        raise Refused(
            f"the image {reference[:19]} exists on one engine only, and this one does not have it",
            help="Load or build it there again, then `paictl lock`.",
        )
    try:
        published(connection.api, reference)
    except PaictlError as error:
        # Whatever the registry said: nothing has been changed yet.
        raise Refused(error.summary, help=error.help) from error
