"""What a manifest asks for that the chosen driver can't give yet: said with the line, before anything changes, never ignored.

Called before compiling. A capability that arrives takes its row out of here; when this file is empty, the design is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from paictl.errors import Diagnostic, Unavailable
from paictl.manifest.load import Manifest
from paictl.manifest.models import Spec

__all__ = ["APPLIED_BY", "refuse_unavailable", "unavailable"]

APPLIED_BY = frozenset({"native", "docker", "fake"})
"""The drivers that apply today; the others render."""

_Path = tuple[str, ...]
_LOCAL_ENGINES = {"chat": {"auto", "llama.cpp"}, "embed": {"auto", "onnx"}, "transcribe": set[str]()}


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
        for path, what, help_text in _wanted(manifest.agent.spec, driver)
    ]
    return sorted(found, key=lambda one: (one.span.file, one.span.line, one.span.column) if one.span else ("", 0, 0))


def _wanted(spec: Spec, driver: str) -> Iterator[tuple[_Path, str, str]]:
    if driver not in APPLIED_BY:
        yield ("spec", "targets"), "applying is", "`paictl render` writes its files already."
    yield from _models(spec)
    yield from _sections(spec)
    yield from _engines(spec)
    yield from _people(spec)


def _models(spec: Spec) -> Iterator[tuple[_Path, str, str]]:
    for name, model in spec.models.items():
        path = ("spec", "models", name)
        if not model.is_local:
            if model.task != "chat":
                yield path, f"an API model for {model.task} is", "Use a local model for this task."
        elif model.task == "transcribe":
            yield (*path, "task"), "speech (transcribe) is", "Take the model out for now."
        elif model.engine not in _LOCAL_ENGINES[model.task]:
            usable = " or ".join(sorted(_LOCAL_ENGINES[model.task] - {"auto"}))
            yield (
                (*path, "engine"),
                f"engine {model.engine} for {model.task} is",
                f"Use engine: {usable}, or leave it out.",
            )
        elif model.task == "embed" and (model.source or "").endswith(".gguf"):
            yield (*path, "source"), "embedding with a .gguf file is", "Use an .onnx model."
        if model.source and model.source.startswith(("ollama://", "oci://")):
            scheme = model.source.partition(":")[0]
            yield (*path, "source"), f"the source {scheme}:// is", "Use hf://, https://, file:// or pypi://."


def _sections(spec: Spec) -> Iterator[tuple[_Path, str, str]]:
    for section, what in (("files", "files are"), ("tools", "tools are")):
        for name in getattr(spec, section):
            yield ("spec", section, name), what, f"Take {section}.{name} out for now."
    for section, what in (
        ("federation", "federation is"),
        ("backup", "scheduled backup is"),
        ("updates", "following a git repository is"),
    ):
        if getattr(spec, section) is not None:
            yield ("spec", section), what, f"Take {section} out for now."
    if "rotate" in spec.identity.model_fields_set:
        yield ("spec", "identity", "rotate"), "key rotation is", "Take identity.rotate out for now."
    for name, target in spec.targets.items():
        if target.vpn is not None and target.driver in APPLIED_BY:
            yield ("spec", "targets", name, "vpn"), "a VPN is", "Take vpn out for now."


def _engines(spec: Spec) -> Iterator[tuple[_Path, str, str]]:
    store, orchestration = spec.memory.store, spec.orchestration
    if store.engine != "embedded" or store.manage == "external":
        yield ("spec", "memory", "store"), f"the memory store {store.engine} is", "Use engine: embedded."
    if orchestration.engine != "embedded" or orchestration.manage == "external":
        yield ("spec", "orchestration"), f"the orchestration engine {orchestration.engine} is", "Use engine: embedded."


def _people(spec: Spec) -> Iterator[tuple[_Path, str, str]]:
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
