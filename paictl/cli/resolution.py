"""What the manifest's intent comes to on a target: models, images, runtime, secrets' fingerprints; kept in ``agent.lock``.

Called by ``session`` on the way to a blueprint. Writes the lock only when ``keep`` is called.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from paictl import places
from paictl.blueprint.compile import Resolved, compile_blueprint
from paictl.blueprint.types import Blueprint, RuntimePin, Weights
from paictl.cli.rules import Rules
from paictl.errors import PaictlError, Refused
from paictl.events import Emit, ignore
from paictl.manifest.load import Manifest
from paictl.manifest.lock import LockedModel, LockedRuntime, LockedTarget
from paictl.manifest.lockfile import Lock, read_lock, write_lock

if TYPE_CHECKING:
    from paictl.fit.machines import Share
    from paictl.secrets import SecretReference

__all__ = ["Resolution", "lock_digest", "lock_path", "read_secret", "resolve", "secret_reference"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The blueprint, and the lock that it was compiled with."""

    blueprint: Blueprint
    before: Lock
    after: Lock
    path: Path

    def keep(self) -> None:
        """Write ``agent.lock``, when it says something new."""
        if self.after == self.before:
            return
        try:
            write_lock(self.path, self.after)
        except OSError as error:
            raise PaictlError(
                f"{self.path} can't be written: {error.strerror}",
                help="It belongs beside the manifest: make room and give yourself the right to write there.",
            ) from error


def lock_path(manifest: Manifest) -> Path:
    """``agent.lock`` beside ``agent.yaml``; each manifest of another name has its own."""
    name = Path(manifest.files[0]).name
    stem = Path(name).stem if name.endswith((".yaml", ".yml")) else "agent"
    return manifest.folder / f"{stem}.lock"


def resolve(manifest: Manifest, rules: Rules, emit: Emit = ignore) -> Resolution:
    """Compile the manifest with what its lock says, and with what had to be resolved beside it."""
    from paictl.blueprint.runtime import runtime_pin
    from paictl.blueprint.unavailable import CONTAINERS
    from paictl.cli.following import program
    from paictl.cli.pinning import locked_images
    from paictl.fit.hardware import probe
    from paictl.fit.machines import shares, threads

    path = lock_path(manifest)
    before = read_lock(path)
    target = before.targets.get(manifest.target, LockedTarget())
    if rules.locked and target.runtime is None:
        raise Refused(f"{path.name} says nothing of {manifest.target}", help=_WITHOUT_LOCKED)
    driver = rules.driver or manifest.target_spec.driver
    machines = shares(manifest.agent.spec.models, manifest.target_spec, driver, here=lambda: probe(places.cache_home()))
    models = _models(manifest, target.models, rules, machines, emit)
    runtime = target.runtime if target.runtime and not rules.fresh else None
    if runtime is None:
        pin = runtime_pin()
        runtime = LockedRuntime(pin.version, pin.digest)
    resolved = Resolved(
        RuntimePin(runtime.version, runtime.digest),
        models,
        threads=threads(machines),
        containers=rules.driver in CONTAINERS,
        program=program(),
    )
    blueprint = compile_blueprint(manifest, resolved)
    images = locked_images(manifest, blueprint, target.images, rules, emit) if rules.driver == "docker" else {}
    declared = [one.name for one in blueprint.secrets if not one.generated and not one.brought] if rules.secrets else []
    if images or declared:
        exact = {name: image.reference for name, image in images.items()}
        complete = replace(resolved, images=exact, fingerprints=_fingerprints(manifest, declared))
        blueprint = compile_blueprint(manifest, complete)
    # Of another driver's images nothing is known here: what the lock says of them stays.
    kept = replace(target, runtime=runtime, models=models, images=images if rules.images and images else target.images)
    after = Lock({**before.targets, manifest.target: kept})
    return Resolution(_with_what_is_here(blueprint), before, after, path)


def _with_what_is_here(blueprint: Blueprint) -> Blueprint:
    """The same blueprint, knowing which model files need no download any more."""
    from paictl.weights.cache import Cache

    cache = Cache()

    def here(one: Weights) -> bool:
        # Only looked for, not hashed: a plan writes nothing, not even that it looked.
        return one.source.startswith("file://") or cache.path(one.sha256).is_file()

    return replace(blueprint, weights=tuple(replace(one, here=here(one)) for one in blueprint.weights))


def _models(
    manifest: Manifest, known: Mapping[str, LockedModel], rules: Rules, machines: Iterable[Share], emit: Emit
) -> Mapping[str, LockedModel]:
    from paictl.fit.resolve import Supply, lock_models

    supply = Supply(
        base=manifest.folder,
        emit=emit,
        offline=rules.offline or rules.locked,
        download=rules.download and not rules.locked,
        previous={} if rules.fresh else known,
    )

    def found() -> dict[str, LockedModel]:
        locked: dict[str, LockedModel] = {}
        for share in machines:
            locked |= lock_models(share.models, share.hardware, supply)
        # In the manifest's order, whatever runs where.
        return {name: locked[name] for name in manifest.agent.spec.models if name in locked}

    if not rules.locked:
        return found()
    try:
        models = found()
    except PaictlError as error:
        raise Refused(f"agent.lock does not say enough: {error.summary}", help=_WITHOUT_LOCKED) from error
    moved = sorted(name for name, model in models.items() if known.get(name) != model)
    if moved:
        raise Refused(f"agent.lock does not say what {', '.join(moved)} is", help=_WITHOUT_LOCKED)
    return models


_WITHOUT_LOCKED = "`paictl lock` resolves it; --locked only refuses to."


def lock_digest(lock: Lock, target: str) -> str:
    """Changes with whatever the lock says of the target; kept in the release."""
    return hashlib.sha256(repr(lock.targets.get(target)).encode()).hexdigest()


def secret_reference(manifest: Manifest, name: str) -> SecretReference:
    """Where the declared secret is kept."""
    from paictl.secrets import SecretReference

    secret = manifest.agent.spec.secrets[name]
    return SecretReference(
        name=name,
        source=secret.from_,
        entry=secret.name or "",
        file=secret.file or "",
        key=secret.key or "",
        identity=secret.identity or "",
        service=secret.service or "",
        command=tuple(secret.command or ()),
        folder=manifest.folder,
    )


def read_secret(manifest: Manifest, name: str) -> bytes:
    """The secret's value, for the one who hands it on; raises ``SecretError`` naming the place."""
    from paictl.secrets import read

    return read(secret_reference(manifest, name), os.environ)


def _fingerprints(manifest: Manifest, names: Iterable[str]) -> dict[str, str]:
    """A fingerprint per secret that shows rotation and can't be turned back.

    The key is stretched from the value itself with scrypt (RFC 7914, 16 MiB, about 40 ms): the same on every machine, after
    a lost state directory and in a plan before the first apply, which may write no key; and too slow to guess a weak value.
    """
    from paictl.secrets import fingerprint

    found: dict[str, str] = {}
    for name in names:
        value = read_secret(manifest, name)
        salt = f"paictl/{manifest.agent.metadata.name}/{name}".encode()
        key = hashlib.scrypt(value, salt=salt, n=2**14, r=8, p=1, dklen=32)
        found[name] = fingerprint(key, value)
    return found
