"""What a manifest asks for that the chosen driver can't give yet: said with the line, before anything changes, never ignored.

Called before compiling. A capability that arrives takes its row out of here; when this file is empty, the design is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from paictl.blueprint.images import PUBLISHED
from paictl.blueprint.periodic import follows
from paictl.errors import Diagnostic, Unavailable
from paictl.manifest.load import Manifest
from paictl.manifest.models import Model, Secret, Spec, Updates

__all__ = ["CONTAINERS", "SCALED_BY", "left_idle", "refuse_unavailable", "unavailable"]

SCALED_BY = frozenset({"kubernetes", "fake"})
"""The drivers that run more than one of a service."""

CONTAINERS = frozenset({"docker", "kubernetes", "fake"})
"""The drivers that run software of others from its images; on the others ``spec.images`` has no meaning."""


@dataclass(frozen=True, slots=True)
class _Gives:
    """What a driver has beside what all have: engines of local models by task, memory stores by how they are managed."""

    chat: frozenset[str] = frozenset({"llama.cpp"})
    embed: frozenset[str] = frozenset({"onnx"})
    stores: frozenset[str] = frozenset({"embedded"})
    external_stores: frozenset[str] = frozenset()
    gpus: frozenset[str] = frozenset()


_WITH_PROCESSES = _Gives()
_WITH_CONTAINERS = _Gives(
    chat=frozenset({"llama.cpp", "ollama", "vllm", "mlc-llm"}),
    stores=frozenset({"embedded", "pgvector", "chroma"}),
    external_stores=frozenset({"pgvector", "chroma"}),
    gpus=frozenset({"nvidia"}),
)
# These compile their kernels for a card, and have none for processors in their published images.
_ON_CARDS_ONLY = frozenset({"vllm", "mlc-llm"})
# What our own runtime serves knows processors only.
_ON_PROCESSORS_ONLY = frozenset({"onnx"})

_Path = tuple[str, ...]
_Wanted = tuple[_Path, str, str]


def refuse_unavailable(manifest: Manifest, driver: str) -> None:
    """Raise ``Unavailable`` with every finding at once, when there is one."""
    found = unavailable(manifest, driver)
    if found:
        raise Unavailable(
            f"{found[0].summary}"
            if len(found) == 1
            else f"{len(found)} things are not available on driver {driver} yet",
            help="Take these lines out for now, or move the agent to a target that has them.",
            diagnostics=found,
        )


def unavailable(manifest: Manifest, driver: str) -> list[Diagnostic]:
    """One diagnostic for each thing, in the order of the manifest."""
    found = [
        Diagnostic(
            code="unavailable",
            summary=f"{what} not available on driver {driver} yet",
            span=manifest.origins.find(path),
            help=help_text,
        )
        for path, what, help_text in _wanted(manifest, driver)
    ]
    return sorted(found, key=lambda one: (one.span.file, one.span.line, one.span.column) if one.span else ("", 0, 0))


def left_idle(manifest: Manifest, driver: str) -> list[Diagnostic]:
    """Warnings: what a profile would use of the machine and the driver can't give. What a person wrote is refused instead."""
    return [
        Diagnostic(
            code="unavailable",
            summary=f"the graphics card stays idle: driver {driver} gives {name} processors only",
            span=manifest.origins.find(("spec", "models", name, "gpu")),
            help="Driver docker gives it the card.",
            severity="warning",
        )
        for name, model in manifest.agent.spec.models.items()
        if model.gpu not in {"none", *_gives(driver).gpus} and _by_profile(manifest, name)
    ]


def _gives(driver: str) -> _Gives:
    return _WITH_CONTAINERS if driver in CONTAINERS else _WITH_PROCESSES


def _by_profile(manifest: Manifest, model: str) -> bool:
    """Whether a profile wishes for the card, not the person."""
    place = manifest.origins.place(("spec", "models", model, "gpu"))
    return place is not None and place.value.file in manifest.origins.shipped


def _wanted(manifest: Manifest, driver: str) -> Iterator[_Wanted]:
    spec = manifest.agent.spec
    gives = _gives(driver)
    for name, model in spec.models.items():
        yield from _model(("spec", "models", name), model, gives)
        yield from _cards(manifest, name, model, gives)
    yield from _sections(spec)
    yield from _backup(spec, driver)
    if spec.updates is not None:
        yield from _updates(manifest, spec.updates, driver)
    yield from _engines(spec, gives)
    yield from _people(spec)
    for name, scale in spec.scale.items() if driver not in SCALED_BY else ():
        if max(scale.replicas, scale.max or 1) > 1:
            advice = (
                "On one machine nothing shares the work out to several: driver kubernetes does. Write replicas: 1 here."
            )
            yield ("spec", "scale", name), f"more than one {name} is", advice


def _model(path: _Path, model: Model, gives: _Gives) -> Iterator[_Wanted]:
    served = {"chat": gives.chat, "embed": gives.embed}.get(model.task, frozenset())
    if not model.is_local:
        if model.task != "chat":
            yield path, f"an API model for {model.task} is", "Use a local model for this task."
    elif model.task == "transcribe":
        yield (*path, "task"), "speech (transcribe) is", "Take the model out for now."
    elif model.engine not in {"auto", *served}:
        usable = " or ".join(sorted(served))
        advice = f"Use engine: {usable}, or leave it out."
        yield (*path, "engine"), f"engine {model.engine} for {model.task} is", advice
    elif model.task == "embed" and (model.source or "").endswith(".gguf"):
        yield (*path, "source"), "embedding with a .gguf file is", "Use an .onnx model."
    if model.source and model.source.startswith(("ollama://", "oci://")):
        scheme = model.source.partition(":")[0]
        advice = "Use hf://, https://, file:// or pypi://" + (
            " with a .gguf file; engine: ollama serves it." if scheme == "ollama" and "ollama" in served else "."
        )
        yield (*path, "source"), f"the source {scheme}:// is", advice


def _cards(manifest: Manifest, name: str, model: Model, gives: _Gives) -> Iterator[_Wanted]:
    path: _Path = ("spec", "models", name)
    if model.engine in _ON_CARDS_ONLY & gives.chat:
        if model.gpu == "none":
            yield (*path, "engine"), f"engine {model.engine} without a graphics card is", "Add gpu: nvidia."
        if model.engine not in {*PUBLISHED, *map(str, manifest.agent.spec.images)}:
            advice = f"Nobody publishes one: build it, and name it as images.{model.engine}."
            yield (*path, "engine"), f"an image of {model.engine} is", advice
    if model.gpu == "none" or _by_profile(manifest, name):
        return
    if model.gpu not in gives.gpus:
        yield (*path, "gpu"), "a graphics card for a model is", "Driver docker has it; take gpu out for this target."
    elif model.task == "embed" or model.engine in _ON_PROCESSORS_ONLY:
        yield (*path, "gpu"), "a graphics card for an embedding model is", "Take gpu out: processors are fast enough."


def _sections(spec: Spec) -> Iterator[_Wanted]:
    for section, what in (("files", "files are"), ("tools", "tools are")):
        for name in getattr(spec, section):
            yield ("spec", section, name), what, f"Take {section}.{name} out for now."
    if spec.federation is not None:
        yield ("spec", "federation"), "federation is", "Take federation out for now."
    if "rotate" in spec.identity.model_fields_set:
        yield ("spec", "identity", "rotate"), "key rotation is", "Take identity.rotate out for now."
    for name, target in spec.targets.items():
        if target.vpn is not None and target.vpn.manage == "managed" and target.driver == "native":
            advice = "Use the machine's own: `manage: external` with its `address`; or driver docker."
            yield ("spec", "targets", name, "vpn"), "a VPN that paictl manages is", advice


def _backup(spec: Spec, driver: str) -> Iterator[_Wanted]:
    wanted = spec.backup
    if wanted is None:
        return
    if driver != "ansible":
        yield ("spec", "backup"), "scheduled backup is", "Driver ansible has it; take backup out for this target."
    elif not wanted.to.startswith("file://"):
        yield ("spec", "backup", "to"), "a backup to a bucket is", "Write file:// and a folder, or a mounted disk."
    elif wanted.secret is not None:
        yield ("spec", "backup", "secret"), "a secret for a folder is", "Take it out: a folder is opened by none."


def _updates(manifest: Manifest, wanted: Updates, driver: str) -> Iterator[_Wanted]:
    path: _Path = ("spec", "updates")
    if driver != "ansible" or not follows(manifest):
        yield path, "following a git repository is", _FOLLOWING.get(driver, _FOLLOWING_ELSEWHERE)
        return
    if wanted.verify == "signed-commits" and not wanted.signers:
        advice = (
            "Name them: `signers: [alice@example.org ssh-ed25519 AAAA…]`. Who may sign decides what this machine does."
        )
        yield path, "following signed commits without `signers` is", advice
    scheme = wanted.git.partition("://")[0] if "://" in wanted.git else "ssh"
    if scheme not in {"https", "ssh"}:
        advice = "Use https:// where everybody may read it, else ssh://, to this very machine, too."
        yield (*path, "git"), f"following a repository by {scheme}:// is", advice
    elif scheme == "ssh" and not (wanted.key and wanted.known_hosts):
        advice = "Name the secret with a key that may read it, and its host's keys as ssh-keyscan prints them."
        yield path, "following a repository behind ssh without `key` and `known-hosts` is", advice
    for name, secret in _read_by_a_timer(manifest.agent.spec, wanted):
        if why := _only_for_a_person(secret):
            what = f"following a git repository with a secret {why} is"
            advice = (
                "A timer of root's reads it: use `from: file` with an absolute path, or age with such an `identity`."
            )
            yield ("spec", "secrets", name), what, advice


def _read_by_a_timer(spec: Spec, wanted: Updates) -> list[tuple[str, Secret]]:
    blocks = (*spec.models.values(), spec.memory.store, spec.state, spec.orchestration)
    named = {wanted.key, *(getattr(block, "secret", None) for block in blocks)}
    return [(name, secret) for name, secret in sorted(spec.secrets.items()) if name in named]


_BY_A_TIMER = "a timer of yours can run `git pull` and `paictl apply --yes`; take updates out for this target."
_FOLLOWING = {
    "kubernetes": "Argo CD or Flux follows what `paictl render` writes (docs/kubernetes.md); take updates out for this target.",
    "ansible": f"A machine follows by itself where paictl runs on it (`hosts: {{}}`). From here {_BY_A_TIMER}",
}
_FOLLOWING_ELSEWHERE = f"Driver ansible has it on the machine that it runs on (`hosts: {{}}`). Here {_BY_A_TIMER}"


def _only_for_a_person(secret: Secret) -> str:
    """Why a timer of root's could not read what the person who typed could; empty where it can."""
    if secret.from_ in {"env", "keyring"}:
        return {"env": "from the environment", "keyring": "from a keyring"}[secret.from_]
    places = {"file": secret.file, "age": secret.identity}
    if secret.from_ in places and not (places[secret.from_] or "").startswith("/"):
        return "in a file of whoever types" if secret.from_ == "file" else "for an age identity of whoever types"
    return ""


def _engines(spec: Spec, gives: _Gives) -> Iterator[_Wanted]:
    store, orchestration = spec.memory.store, spec.orchestration
    if store.engine not in (gives.external_stores if store.manage == "external" else gives.stores):
        kept = "an external" if store.manage == "external" else "the"
        usable = " or ".join(sorted(gives.stores))
        yield ("spec", "memory", "store"), f"{kept} memory store {store.engine} is", f"Use engine: {usable}."
    if spec.state.engine == "postgres" and "pgvector" not in gives.stores:
        advice = "One machine runs one of each, over embedded state; drivers docker and kubernetes have it."
        yield ("spec", "state"), "state in Postgres is", advice
    if orchestration.engine != "embedded" or orchestration.manage == "external":
        yield ("spec", "orchestration"), f"the orchestration engine {orchestration.engine} is", "Use engine: embedded."


def _people(spec: Spec) -> Iterator[_Wanted]:
    for name, person in spec.permissions.people.items():
        role = person if isinstance(person, str) else person.role
        if role != "owner":
            yield (
                ("spec", "permissions", "people", name),
                f"a token for the role {role} is",
                "Only owners can be let in so far.",
            )
    if spec.permissions.budget.money is not None:
        yield ("spec", "permissions", "budget", "money"), "a budget in money is", "Use budget.tokens or budget.calls."
