"""The kinds ``image``, ``weights`` and ``secret``: what containers are made from and what they find when they start."""

from __future__ import annotations

from paictl.drivers.docker import images, secrets, uploads
from paictl.drivers.docker.kind import Act
from paictl.drivers.docker.naming import KEEPER, UPLOAD, engine_name, image_repository, labels
from paictl.drivers.docker.registries import listed
from paictl.drivers.docker.services import containers_of
from paictl.errors import PaictlError

__all__ = ["Images", "ModelFiles", "Secrets"]


class Images:
    """The runtime's image, which is built here, or another's, which is brought and gets a name of ours beside its own."""

    def make(self, act: Act) -> None:
        api, address = act.connection.api, str(act.step.address)
        if act.name == "runtime":
            images.build(api, {**act.spec, "labels": act.labels()}, act.emit, offline=act.offline, address=address)
            return
        found = images.pull(api, act.text("reference"), act.emit, offline=act.offline, address=address)
        repository, _, tag = act.text("tag").rpartition(":")
        api.tag(found, repository, tag)

    def remove(self, act: Act) -> None:
        api, tag, observed = act.connection.api, act.text("tag"), act.step.observed
        # A name that somebody had moved means its successor by now.
        if observed is None or observed.handle in {"", images.present(api, tag)}:
            images.remove(api, tag)


class ModelFiles:
    """A model file in the volume of its model, fetched into this machine's cache and brought from there."""

    def make(self, act: Act) -> None:
        from paictl.weights import fetch, sources

        wanted = act.text("sha256")
        cached = fetch.obtain(
            sources.parse(act.text("source")), wanted, emit=act.emit, offline=act.offline, address=str(act.step.address)
        )
        file = uploads.ModelFile(
            volume=engine_name(act.scope.agent, act.text("volume")),
            path=act.text("path"),
            sha256=wanted,
            size=int(act.text("size")),
            source=cached,
            address=str(act.step.address),
        )
        uploads.put_weights(act.connection, file, _any_image(act), labels(act.scope, UPLOAD, act.name), act.emit)

    def remove(self, _act: Act) -> None:
        # It goes with its volume.
        return


class Secrets:
    """A secret, as its services read it: handed to the keeper, which alone writes it."""

    def make(self, act: Act) -> None:
        keeper = _keeper(act)
        if act.spec["generated"]:
            secrets.make(act.connection, keeper, act.name)
        else:
            value = act.secrets(act.name)
            secrets.put(act.connection, keeper, act.name, act.text("content"), value)

    def remove(self, act: Act) -> None:
        running = [one for one in containers_of(act.connection, act.scope, KEEPER) if one["State"] == "running"]
        if running:
            secrets.drop(act.connection, running[-1]["Id"], act.name)


def _keeper(act: Act) -> str:
    running = [one for one in containers_of(act.connection, act.scope, KEEPER) if one["State"] == "running"]
    if not running:
        raise PaictlError("the keeper of the secrets does not run", help="Run the same command again.")
    return str(running[-1]["Id"])


def _any_image(act: Act) -> str:
    """An image of this agent's: a container that is never started needs one, whichever it is."""
    found = listed(act.connection.api, image_repository(act.scope.agent, "runtime"))
    if not found:
        raise PaictlError("the runtime's image is gone", help="Run the same command again.")
    return str(found[0]["Id"])
