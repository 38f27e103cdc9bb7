"""What ``agent.lock`` keeps of an image: a digest that a registry has, else the id on the one engine that has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from paictl.drivers.docker.registries import architecture, described, fits, refusal
from paictl.errors import PaictlError, Refused, Unreachable
from paictl.events import Emit, Event

if TYPE_CHECKING:
    import docker

__all__ = ["pin", "published"]


def pin(api: docker.APIClient, reference: str, emit: Emit, offline: bool = False) -> str:
    """The exact image that a reference means now: ``name@sha256:…``, or ``sha256:…`` of one that exists on the engine only.

    A tag is asked of its registry, so that a new one is noticed. What the engine has under that name and no registry gave it is
    what the person made: it is meant, and its name is told to no registry (but see ``_asked``). Where none can be asked, what the
    engine got from it earlier holds, with a warning. Raises ``Refused`` for another architecture, ``PaictlError`` where neither has it.
    """
    local = described(api, reference)
    if "@sha256:" in reference:
        return reference
    if reference.startswith("sha256:"):
        if local is None:
            raise PaictlError(
                f"the engine has no image {reference[:19]}", help="Load it there, or name another under `spec.images`."
            )
        return _checked(api, local, str(local["Id"]), reference)
    known = _known(local, reference)
    if local is not None and not known:
        return _checked(api, local, str(local["Id"]), reference)
    if offline:
        if local is None:
            raise Refused(
                f"the image {reference} is not on the engine, and --offline forbids to ask its registry",
                help="Run it once without --offline, or load the image there (`docker load`).",
            )
        return _checked(api, local, known, reference)
    try:
        return _asked(api, local, known, reference)
    except Unreachable as error:
        if local is None:
            raise
        text = f"{error.summary}; it stays at what the engine has"
        emit(Event("warning", "", {"text": text}))
        return _checked(api, local, known, reference)


def _asked(api: docker.APIClient, local: Mapping[str, Any] | None, known: str, reference: str) -> str:
    """What the registry has of it. An engine with containerd's store can't tell what a registry gave it from what was made there.

    It is the registry's if that has the very same content; by the name alone, somebody else's could be taken for the person's.
    """
    if local is not None and _may_be_its_own(local, known) and not _is_published(api, known):
        return _checked(api, local, str(local["Id"]), reference)
    return published(api, reference)


def _may_be_its_own(local: Mapping[str, Any], known: str) -> bool:
    """Whether the digest may be none that a registry gave: to what is made there, containerd's store gives its id for one."""
    return known.endswith(f"@{local['Id']}") and known not in local["RepoTags"]


def _is_published(api: docker.APIClient, pinned: str) -> bool:
    """Whether the registry has this very content."""
    try:
        published(api, pinned)
    except Refused:
        return True
    except Unreachable:
        raise
    except PaictlError:
        return False
    return True


def published(api: docker.APIClient, reference: str) -> str:
    """``name@sha256:…`` of what its registry has by that reference, for this engine; raises as ``pin`` does."""
    import docker.errors

    try:
        found = api.inspect_distribution(reference)  # type: ignore[no-untyped-call] # the SDK's stubs give it no types
    except docker.errors.APIError as error:
        raise refusal(reference, str(error.explanation or error)) from error
    system = f"linux/{architecture(api)}"
    offered = [{"Os": one.get("os"), "Architecture": one.get("architecture")} for one in found.get("Platforms") or ()]
    wrong = [fits(one, system, reference) for one in offered]
    if wrong and None not in wrong and wrong[0] is not None:
        raise wrong[0]
    return f"{_name(reference)}@{found['Descriptor']['digest']}"


def _checked(api: docker.APIClient, image: Mapping[str, Any], pinned: str, reference: str) -> str:
    wrong = fits(image, f"linux/{architecture(api)}", reference)
    if wrong is not None:
        raise wrong
    return pinned


def _known(local: Mapping[str, Any] | None, reference: str) -> str:
    """By which digest its registry gave it to the engine; empty when none did."""
    if local is None:
        return ""
    name = _name(reference)
    # The engine writes the names of Docker's own registry short.
    short = name.removeprefix("docker.io/").removeprefix("library/")
    digests = (str(one).partition("@") for one in local["RepoDigests"])
    return next((f"{name}@{digest}" for repository, _, digest in digests if repository in {name, short}), "")


def _name(reference: str) -> str:
    """Without the tag; a colon before the last slash is a port's."""
    head, slash, last = reference.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
