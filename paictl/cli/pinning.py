"""Which exact container images a target runs: what the lock holds, and what has to be asked of the target's engine beside it.

Called by ``resolution``. Only the docker driver pins: the others have no engine here that could say what a name is.
"""

from __future__ import annotations

from collections.abc import Mapping

from paictl.blueprint import vpn_image
from paictl.blueprint.images import image_reference
from paictl.blueprint.types import Blueprint
from paictl.cli.rules import Rules
from paictl.errors import PaictlError, Refused
from paictl.events import Emit
from paictl.manifest.load import Manifest
from paictl.manifest.lock import LockedImage

__all__ = ["locked_images"]


def locked_images(
    manifest: Manifest, blueprint: Blueprint, known: Mapping[str, LockedImage], rules: Rules, emit: Emit
) -> dict[str, LockedImage]:
    """The images that the blueprint's services need, by their names in the manifest.

    What ``known`` says holds until the manifest means another reference. The rest is asked for where ``rules`` want that, and
    left out elsewhere: files can be rendered without any engine. Raises ``Refused`` under ``--locked``.
    """
    services = {service.upstream.image for service in blueprint.services if service.upstream is not None}
    wanted = {name: image_reference(manifest, name) for name in sorted({"base", *services})}
    held = {} if rules.fresh else {name: known[name] for name in wanted if _holds(known.get(name), wanted[name])}
    missing = {name: reference for name, reference in wanted.items() if name not in held}
    if missing and rules.images and rules.locked:
        raise Refused(
            f"agent.lock does not say which image {', '.join(missing)} is",
            help="`paictl lock` resolves it; --locked only refuses to.",
        )
    found = _pinned(manifest, missing, rules, emit) if missing and rules.images else {}
    return dict(sorted((held | found).items()))


def _holds(known: LockedImage | None, intent: str) -> bool:
    return known is not None and known.intent == intent


def _pinned(manifest: Manifest, references: Mapping[str, str], rules: Rules, emit: Emit) -> dict[str, LockedImage]:
    """Asked of the engine that will run them: it alone knows its architecture, and the images that only it has."""
    from paictl.drivers.docker.connection import connect
    from paictl.drivers.docker.pins import pin
    from paictl.drivers.docker.registries import described

    target = manifest.target_spec
    connection = connect(target.context if target.driver == "docker" else None)
    try:
        if (
            references.get(vpn_image.IMAGE) == vpn_image.image()
            and described(connection.api, vpn_image.image()) is None
        ):
            raise PaictlError(
                "the engine has no image of the VPN, and nobody publishes one",
                help=f"`paictl render -o DIR` writes its sources; then `docker build --tag {vpn_image.image()} DIR/vpn`.",
            )
        return {
            name: LockedImage(pin(connection.api, reference, emit, rules.offline), reference)
            for name, reference in references.items()
        }
    finally:
        connection.close()
