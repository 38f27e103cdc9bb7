"""What an engine and its registries say of images: those it has, one as it comes, or a sentence for a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from paictl.errors import PaictlError, Refused, Unreachable
from paictl.events import Emit, Event

if TYPE_CHECKING:
    import docker

__all__ = ["architecture", "described", "fetch", "fits", "listed", "patiently", "refusal"]

_LOOKS, _BETWEEN_SECONDS = 10, 0.2

_MISSING = ("manifest unknown", "not found", "name unknown", "no such image", "name invalid", "invalid reference")
_FORBIDDEN = ("unauthorized", "denied", "authentication required", "forbidden", "no basic auth credentials")
_OTHER_MACHINE = ("no matching manifest", "does not match the specified platform", "no match for platform")


def fetch(api: docker.APIClient, reference: str, emit: Emit, address: str) -> None:
    """Have the engine pull an image. Raises what ``refusal`` makes of the answer."""
    import docker.errors

    what = f"pull {reference}"
    emit(Event("progress", address, {"what": what, "done": 0, "total": 0}))
    layers: dict[str, tuple[int, int]] = {}
    told, error = 0, ""
    try:
        for line in _lines(api.pull(reference, stream=True, decode=True)):
            # Read to its end, also after an error: the SDK closes the connection only then.
            error = str(line.get("error") or error)
            if line.get("status") == "Downloading":
                detail = line.get("progressDetail") or {}
                layers[str(line.get("id"))] = int(detail.get("current") or 0), int(detail.get("total") or 0)
                done, total = (sum(numbers) for numbers in zip(*layers.values(), strict=True))
                # A line a hundredth is enough for every eye, and for a log.
                if total and 100 * done // total != told:
                    told = 100 * done // total
                    emit(Event("progress", address, {"what": what, "done": done, "total": total}))
    except docker.errors.APIError as failure:
        raise refusal(reference, str(failure.explanation or failure)) from failure
    if error:
        raise refusal(reference, error)


def _lines(stream: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    return (line for line in stream if isinstance(line, Mapping))


def described(api: docker.APIClient, reference: str) -> Mapping[str, Any] | None:
    """What the engine says of an image that it has: ``Id``, ``RepoTags``, ``RepoDigests``, ``Config``, ``Os``, ``Architecture``."""
    import docker.errors

    try:
        found = api.inspect_image(reference)  # type: ignore[no-untyped-call] # the SDK's stubs give it no types
    except docker.errors.NotFound:
        # An engine with containerd's store knows an image by the digest that its registry has of it, also where a name moved on.
        name, _, digest = reference.partition("@")
        return described(api, digest) if name and digest else None
    return {**found, "RepoTags": found.get("RepoTags") or [], "RepoDigests": found.get("RepoDigests") or []}


def listed(api: docker.APIClient, name: str | None = None, **more: Any) -> list[dict[str, Any]]:
    """The images that an engine has."""
    return patiently(lambda: [dict(one) for one in api.images(name, **more)])


def patiently(look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A list of images. An engine with containerd's store answers 404 while any of them is being removed: asked again."""
    for _ in range(_LOOKS):
        try:
            return look()
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", 0) != HTTPStatus.NOT_FOUND:
                raise
            time.sleep(_BETWEEN_SECONDS)
    return look()


def architecture(api: docker.APIClient) -> str:
    """The engine's processor in Docker's words: ``amd64``, ``arm64``."""
    return str(api.version()["Arch"])


def fits(image: Mapping[str, Any], platform: str, reference: str) -> Refused | None:
    """What to tell when an image can't run on a platform; ``image`` is the engine's or a registry's description of it."""
    system, _, processor = platform.partition("/")
    found = str(image.get("Os") or system), str(image.get("Architecture") or processor)
    if found == (system, processor.partition("/")[0]):
        return None
    return Refused(
        f"the image {reference} is for {found[0]}/{found[1]}, and this engine runs {platform}",
        help="Name one that is built for it under `spec.images` in the manifest, then `paictl lock`.",
    )


def refusal(reference: str, answer: str) -> PaictlError:
    """The error for what an engine or a registry answered when it was asked for an image."""
    low, said = answer.lower(), answer.strip().removeprefix("Error response from daemon: ")
    if any(sign in low for sign in _OTHER_MACHINE):
        return Refused(
            f"the image {reference} is not published for this engine's architecture: {said}",
            help="Name one that is built for it under `spec.images` in the manifest, then `paictl lock`.",
        )
    if any(sign in low for sign in _FORBIDDEN):
        return PaictlError(
            f"the registry does not give us the image {reference}: {said}",
            help="Either there is no such image, or it wants a login: `docker login REGISTRY` on this machine, then again.",
        )
    if any(sign in low for sign in _MISSING):
        return PaictlError(
            f"the registry has no image {reference}: {said}",
            help="Look at its name and tag under `spec.images`; after `paictl lock` the newest of a tag is taken.",
        )
    return Unreachable(
        f"the engine can't get the image {reference}: {said}",
        help="It asks the registry itself: look at its network and proxy. Or load the image there (`docker load`) and name it "
        "under `spec.images`.",
    )
