"""The images of an agent on an engine: its own is built there, those of others are pulled. Called by the kind ``image``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from paictl.blueprint.images import PUBLISHED
from paictl.blueprint.runtime import requirements, runtime_pin
from paictl.blueprint.wheels import wheels
from paictl.drivers.docker.building import build_image, context_archive, interpreter_of
from paictl.drivers.docker.registries import architecture, described, fetch, fits, listed
from paictl.errors import PaictlError, Refused
from paictl.events import Emit
from paictl.render.containers import image_context

if TYPE_CHECKING:
    import docker

__all__ = ["build", "present", "pull", "remove"]

# A name of ours beside an image's own says that we pulled it: what a person had before stays when the agent goes.
_PULLED = "paictl-pulled"
_BASE = "org.opencontainers.image.base.name"  # the OCI's annotation


def build(
    api: docker.APIClient, spec: Mapping[str, object], emit: Emit, *, offline: bool, address: str = "image/runtime"
) -> str:
    """Make the runtime's image stand as ``tag`` with ``labels``; its id. What stands so already is left alone.

    ``spec``: tag, base (empty: the published one), directories, volumes, runtime (its digest), labels. Raises ``PaictlError``; when the
    build itself fails, with the last lines that it said. May be repeated after a kill at any point.
    """
    tag, base = str(spec["tag"]), str(spec["base"] or PUBLISHED["base"])
    labels = {**_texts(spec["labels"]), _BASE: base}
    found = described(api, tag)
    if found is not None and labels.items() <= (found["Config"].get("Labels") or {}).items():
        return str(found["Id"])
    pin = runtime_pin()
    if spec["runtime"] != pin.digest:
        raise Refused(
            f"the lock pins the runtime {str(spec['runtime'])[:12]}, which this paictl does not carry and the engine does not have",
            help="Run `paictl lock` to take the runtime of this paictl, and apply again.",
        )
    pull(api, base, emit, offline=offline, address=address)
    packages = wheels(requirements(), interpreter_of(api, base, tag), emit, offline=offline, address=address)
    directories = spec["directories"]
    below = [str(one) for one in directories] if isinstance(directories, Sequence) else []
    volumes = spec.get("volumes")
    owned = {str(name): int(uid) for name, uid in volumes.items()} if isinstance(volumes, Mapping) else {}
    with context_archive(image_context(pin, below, base, owned), packages) as archive:
        return build_image(api, archive, tag, labels, emit, address)


def pull(
    api: docker.APIClient, reference: str, emit: Emit, *, offline: bool, platform: str = "", address: str = ""
) -> str:
    """Have an image on the engine, pulled when it isn't there; its id. ``platform`` (``linux/arm64``): other than the engine's own.

    Raises ``Refused`` for an image of another architecture and for what isn't there when ``offline``, ``Unreachable`` when no
    registry answers, ``PaictlError`` when it has no such image or does not give it to us.
    """
    found = described(api, reference)
    brought = found is None
    if found is None:
        _may_be_pulled(reference, offline=offline)
        fetch(api, reference, emit, address)
        found = described(api, reference)
    if found is None:
        raise PaictlError(f"the image {reference} was pulled and is gone again", help="Run the same command again.")
    wrong = fits(found, platform or f"linux/{architecture(api)}", reference)
    if wrong is not None:
        if brought:
            api.remove_image(reference)
        raise wrong
    if brought:
        api.tag(found["Id"], _PULLED, hashlib.sha256(reference.encode()).hexdigest()[:12])
    return str(found["Id"])


def present(api: docker.APIClient, reference: str) -> str:
    """The id of an image that the engine has; empty when it does not have it."""
    found = described(api, reference)
    return str(found["Id"]) if found else ""


def remove(api: docker.APIClient, reference: str) -> None:
    """Take away a name that we gave, and the image when it was pulled or built for us and nobody else uses it.

    Whatever a container, another image or a name of somebody else's still needs stays; nothing there is fine.
    """
    found = described(api, reference)
    if found is None or reference.startswith("sha256:"):
        return
    base = (found["Config"].get("Labels") or {}).get(_BASE, "")
    if len(found["RepoTags"]) > 1 or not _used(api, str(found["Id"])):
        _unname(api, reference)
        _release(api, reference, str(found["Id"]))
    # An engine with containerd's store does not tell what was built upon an image; our own label does.
    if base and not any((one.get("Labels") or {}).get(_BASE) == base for one in listed(api)):
        _release(api, base, base)


def _release(api: docker.APIClient, reference: str, id_: str) -> None:
    """Remove an image that we pulled, once its only names are those it came by and our mark."""
    found = described(api, id_)
    if found is None:
        return
    marks = [tag for tag in found["RepoTags"] if tag.startswith(f"{_PULLED}:")]
    names = [tag for tag in found["RepoTags"] if tag not in marks]
    # With containerd's store the digest by which it came is a name among these, and each name has a digest, our mark's, too.
    others = [tag for tag in names if tag != reference and "@" not in tag]
    digests = [one for one in found["RepoDigests"] if not one.startswith(f"{_PULLED}@")]
    if marks and not others and not _used(api, str(found["Id"])):
        # The mark goes last: a kill before that leaves an image that the next removal still knows as ours.
        for name in (*dict.fromkeys([*names, *digests]), *marks):
            _unname(api, name)


def _unname(api: docker.APIClient, name: str) -> None:
    import docker.errors

    try:
        api.remove_image(name)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        # Somebody began to use it between the look and this: it is theirs now.
        if error.status_code != 409:
            raise


def _used(api: docker.APIClient, id_: str) -> bool:
    """Whether a container was made from it or from what was built upon it, or an image was."""
    if api.containers(all=True, filters={"ancestor": id_}):
        return True
    return any(one.get("ParentId") == id_ for one in listed(api, all=True))


def _may_be_pulled(reference: str, *, offline: bool) -> None:
    if reference.startswith("sha256:"):
        raise PaictlError(
            f"the image {reference[:19]} exists on one engine only, and this one does not have it",
            help="Load or build it there again, then `paictl lock`.",
        )
    if offline:
        raise Refused(
            f"the image {reference} is not on the engine, and --offline forbids to pull it",
            help="Apply once without --offline, or load it there (`docker load`).",
        )


def _texts(found: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, Mapping) else {}
