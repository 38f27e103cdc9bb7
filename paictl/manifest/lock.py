"""``agent.lock``: what the manifest's intent was resolved to, per target. Committed by the person; changed by ``lock`` and ``apply``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Embedding", "LockedFile", "LockedHost", "LockedImage", "LockedModel", "LockedRuntime", "LockedTarget"]


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file, exactly. ``url`` is where ``source`` was resolved to; ``size`` in bytes."""

    source: str
    sha256: str
    size: int
    file: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding identity: vectors are comparable only under the same ``fingerprint``."""

    dimension: int
    normalize: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class LockedModel:
    """A local model, resolved for one target. ``context`` in tokens; ``memory`` is what it needs running, in bytes.

    ``intent`` is what the manifest asked for when this was resolved: it holds until that changes. ``parts`` are the other
    files of a model that is a folder, by their names in it; ``weights`` is the largest.
    """

    weights: LockedFile
    format: str
    engine: str
    context: int
    parameters: int = 0
    quantization: str = ""
    memory: int = 0
    tokenizer: LockedFile | None = None
    embedding: Embedding | None = None
    parts: Mapping[str, LockedFile] = field(default_factory=dict)
    intent: str = ""


@dataclass(frozen=True, slots=True)
class LockedRuntime:
    """The runtime that is pinned on the target: paictl's version and the digest of the code with its dependencies."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class LockedImage:
    """A container image, exactly: ``HOST/NAME@sha256:…``, or ``sha256:…`` for one that only the target's engine has.

    ``intent`` is the reference that the manifest came to when this was resolved: it holds until that changes.
    """

    reference: str
    intent: str


@dataclass(frozen=True, slots=True)
class LockedHost:
    """A host as it was first met, or pinned again: no other key is ever accepted at its name.

    ``key`` is kind and key as in known_hosts. The login is the manifest's of then: a host that was taken out of it is still
    reached by that, for as long as something stands there.
    """

    key: str
    address: str
    user: str = ""
    port: int = 22


@dataclass(frozen=True, slots=True)
class LockedTarget:
    """Everything that was resolved for one target."""

    runtime: LockedRuntime | None = None
    models: Mapping[str, LockedModel] = field(default_factory=dict)
    images: Mapping[str, LockedImage] = field(default_factory=dict)
    hosts: Mapping[str, LockedHost] = field(default_factory=dict)
