"""The runtime's image built on an engine for a target that has none of its own, and pushed to a registry. Used by the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paictl.blueprint.runtime import runtime_pin
from paictl.blueprint.types import Blueprint
from paictl.drivers.docker import images
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.pins import published
from paictl.drivers.docker.registries import described
from paictl.errors import PaictlError, Refused, Unreachable
from paictl.events import Emit, Event
from paictl.render.containers import image, image_directories, volumes_of_others

if TYPE_CHECKING:
    import docker

__all__ = ["Publisher"]


class Publisher:
    """Builds and pushes by the engine that ``docker`` itself would use, with its logins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def architecture(self) -> str:
        """The processor that it builds for, in Docker's words; raises ``Unreachable`` where there is no engine."""
        return self._connection.engine().arch

    def has(self, reference: str) -> bool:
        """Whether a registry has it; raises ``PaictlError`` when that can't be told, ``Unreachable`` without an engine."""
        self._connection.engine()
        try:
            published(self._connection.api, reference)
        except (Refused, Unreachable):
            raise
        except PaictlError:
            # No such image, or a registry that does not tell strangers: pushing will show which.
            return False
        return True

    def publish(self, blueprint: Blueprint, reference: str, emit: Emit, address: str, *, offline: bool) -> None:
        """Build the blueprint's image and push it as ``reference``; the engine keeps what it had before, and no more."""
        api, tag = self._connection.api, image(blueprint)
        before = described(api, tag) is not None
        pin = runtime_pin()
        spec = {
            "tag": tag,
            "base": blueprint.base,
            "directories": image_directories(blueprint),
            "volumes": volumes_of_others(blueprint),
            "runtime": blueprint.runtime.digest,
            "version": pin.version,
            "labels": {},
        }
        id_ = images.build(api, spec, emit, offline=offline, address=address)
        try:
            _push(api, id_, reference, emit, address)
        finally:
            images.remove(api, reference)
            if not before:
                images.remove(api, tag)


def _push(api: docker.APIClient, id_: str, reference: str, emit: Emit, address: str) -> None:
    repository, _, tag = reference.rpartition(":")
    what = f"push {reference}"
    emit(Event("progress", address, {"what": what, "done": 0, "total": 0}))
    api.tag(id_, repository, tag)
    layers: dict[str, tuple[int, int]] = {}
    told, error = 0, ""
    for line in api.push(repository, tag, stream=True, decode=True):
        # Read to its end, also after an error: the SDK closes the connection only then.
        error = str(line.get("error") or error)
        if line.get("status") == "Pushing":
            detail = line.get("progressDetail") or {}
            layers[str(line.get("id"))] = int(detail.get("current") or 0), int(detail.get("total") or 0)
            done, total = (sum(numbers) for numbers in zip(*layers.values(), strict=True))
            if total and 100 * done // total != told:
                told = 100 * done // total
                emit(Event("progress", address, {"what": what, "done": min(done, total), "total": total}))
    if error:
        raise PaictlError(
            f"the registry does not take the image {reference}: {error}",
            help="It may want a login (`docker login REGISTRY` on this machine), or another `registry` is meant. What was built "
            "is built again by the next apply.",
        )
