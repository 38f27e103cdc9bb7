"""From the files a person names to one checked manifest for one target. The way in for every verb; nothing here writes.

The order is that of the design: defaults < deployment model < hardware < manifest < ``overlays.<target>`` <
``agent.<target>.yaml`` < further files. Everything found wrong is raised at once, as one ``ManifestError``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paictl.errors import Diagnostic
from paictl.manifest.files import read_manifest, sibling
from paictl.manifest.findings import Finding, Findings, TreePath, nearest
from paictl.manifest.floors import check_floors
from paictl.manifest.includes import Included, read_included, rebase
from paictl.manifest.literals import find_literals
from paictl.manifest.merge import Merged, Origins, merge
from paictl.manifest.migrate import to_current
from paictl.manifest.models import Agent, Include, Target, Text
from paictl.manifest.overlays import base_layer, check_overlays, overlay_layer
from paictl.manifest.profiles import DEPLOYMENT_MODELS, Profile, hardware_profiles, read_offer, read_profile
from paictl.manifest.references import check_references
from paictl.manifest.rules import check_rules
from paictl.manifest.shape import shape_of
from paictl.manifest.source import Source, parse
from paictl.manifest.structure import unknown_deletions, validated, without_extensions
from paictl.manifest.tree import entries, mapping_at, text_at
from paictl.manifest.variables import substitute
from paictl.manifest.versions import VERSIONS, Version

__all__ = ["Manifest", "load"]


@dataclass(frozen=True)
class Manifest:
    """A checked manifest, merged for one target.

    ``includes`` holds every included file by the path that names it; ``digest`` changes with any byte that matters and
    with nothing else (order, comments, spelled-out defaults).
    """

    agent: Agent
    target: str
    target_spec: Target
    origins: Origins
    includes: Mapping[TreePath, Included]
    digest: str
    folder: Path
    files: tuple[str, ...]
    warnings: tuple[Diagnostic, ...] = field(default=())

    def text(self, value: Text) -> str:
        """The text itself, whether it stands in the manifest or in a file of its own."""
        if isinstance(value, Include):
            return next(each.text for each in self.includes.values() if each.file == value.file)
        return value


def load(
    paths: Sequence[Path | str],
    *,
    target: str | None = None,
    env: Mapping[str, str],
    cwd: Path | None = None,
    versions: tuple[Version, ...] = VERSIONS,
) -> Manifest:
    """Read, merge and check. ``-`` among ``paths`` is standard input; ``cwd`` is what relative paths start from.

    Raises ``ManifestError`` (exit 2) with every diagnostic, sorted by place.
    """
    reader = _Reader(cwd or Path.cwd(), env, versions, Findings())
    sources = [reader.read(path, whole=path is paths[0]) for path in paths]
    known = [source for source in sources if source is not None]
    if len(known) == len(paths):
        name = target or _target_name(known, reader.findings)
        beside = sibling(paths[0], name, reader.cwd) if name else None
        between = reader.read(beside, whole=False) if beside is not None else None
        if between is not None:
            known.insert(1, between)
        manifest = _assembled(known, name, reader.findings)
        if manifest is not None:
            return manifest
    reader.findings.raise_errors("<stdin>" if str(paths[0]) == "-" else str(paths[0]))
    message = "a manifest without errors was not assembled"
    raise AssertionError(message)


@dataclass(frozen=True, slots=True)
class _Reader:
    cwd: Path
    env: Mapping[str, str]
    versions: tuple[Version, ...]
    findings: Findings

    def read(self, path: Path | str, *, whole: bool) -> Source | None:
        """One file: parsed, in the current version, its variables replaced, its literal secrets found."""
        text = read_manifest(path, self.cwd, self.findings)
        source = parse(text.text, text.file, text.folder, self.findings) if text is not None else None
        if text is None or source is None:
            return None
        current = to_current(source, text.text, self.findings, self.versions, whole=whole)
        if current is None:
            return None
        source = substitute(current, self.env, self.findings)
        find_literals(source, self.findings)
        return source


def _target_name(sources: Iterable[Source], findings: Findings) -> str:
    """The target that is meant when none was asked for; empty when that can't be told."""
    merged = merge(base_layer(source) for source in sources)
    targets = mapping_at(merged.tree, "spec", "targets")
    chosen = text_at(merged.tree, "spec", "deployment", "target")
    if chosen is not None:
        return chosen
    if len(targets) > 1:
        summary = f"there are {len(targets)} targets, and none is chosen: {', '.join(targets)}"
        advice = "write `deployment: {target: …}`, or name one with -t"
        findings.add("no-target", summary, merged.origins.key(("spec", "targets")), advice=advice)
    return next(iter(targets)) if len(targets) == 1 else ""


def _assembled(sources: list[Source], target: str, findings: Findings) -> Manifest | None:
    """The manifest, or ``None`` when ``findings`` holds errors."""
    first, *others = sources
    base, overlay = base_layer(first), overlay_layer(first, target)
    user = [base, *([overlay] if overlay else []), *map(base_layer, others)]
    merged_user = merge(user)
    check_overlays(first, others, mapping_at(merged_user.tree, "spec", "targets"), findings)
    profiles = _profiles(merged_user, target, findings)
    merged = merge([*(profile.layer for profile in profiles), *user])
    origins = merged.origins
    tree = without_extensions(merged.tree, shape_of(Agent))
    _check_target(tree, target, origins, findings)
    agent, found = _check(tree)
    _report(found, origins, findings)
    for layer in user:
        _report(unknown_deletions(layer.tree, shape_of(Agent)), Origins(layer.places), findings)
    _check_other_overlays(first, target, findings)
    check_floors(tree, origins, (floor for profile in profiles for floor in profile.floors), findings)
    folders = {source.file: source.folder for source in sources}
    includes = read_included(tree, origins, folders, first.folder, findings)
    if agent is None or findings.errors:
        return None
    if any(folder != first.folder for folder in folders.values()):
        rebase(tree, origins, folders, first.folder)
        agent = Agent.model_validate(tree)
    if not any(model.task == "chat" for model in agent.spec.models.values()):
        findings.add(
            "no-chat-model",
            "no model has `task: chat`, so the agent can remember but not think",
            merged.origins.key(("spec", "models")),
            advice="add one under `spec.models`; `paictl explain spec.models` shows how",
            severity="warning",
        )
    return Manifest(
        agent=agent,
        target=target,
        target_spec=agent.spec.targets[target],
        origins=origins,
        includes=includes,
        digest=_digest(agent, target, includes),
        folder=first.folder,
        files=tuple(source.file for source in sources),
        warnings=findings.warnings(),
    )


def _check(tree: Mapping[str, Any]) -> tuple[Agent | None, list[Finding]]:
    """Types, and what types can't say; both always, so that one run tells everything."""
    agent, wrong = validated(Agent, tree)
    return agent, [*wrong, *check_references(tree), *check_rules(tree)]


def _report(found: Iterable[Finding], origins: Origins, findings: Findings) -> None:
    for each in found:
        span = origins.key(each.path) if each.at_key else origins.find(each.path)
        findings.add(each.code, each.summary, span, advice=each.help, severity=each.severity)


def _check_target(tree: Mapping[str, Any], target: str, origins: Origins, findings: Findings) -> None:
    """Both the target that the manifest chooses and the one that was asked for must exist."""
    targets = mapping_at(tree, "spec", "targets")
    chosen = text_at(tree, "spec", "deployment", "target")
    places = {target: origins.key(("spec", "targets"))}
    if chosen is not None:
        places[chosen] = origins.find(("spec", "deployment", "target"))
    for name, span in places.items():
        if name and targets and name not in targets:
            advice = nearest(name, targets, "targets")
            findings.add("unknown-reference", f"there is no target `{name}`", span, advice=advice)


def _check_other_overlays(first: Source, target: str, findings: Findings) -> None:
    """What is wrong in the overlays of the targets that are not applied now."""
    for name in mapping_at(first.tree, "overlays"):
        overlay = overlay_layer(first, name) if name != target else None
        if overlay is None:
            continue
        merged = merge([base_layer(first), overlay])
        inside = {span for place in overlay.places.values() for span in (place.value, place.key)}
        _, found = _check(without_extensions(merged.tree, shape_of(Agent)))
        found += unknown_deletions(overlay.tree, shape_of(Agent))
        theirs = [
            each for each in found if (merged.origins.key if each.at_key else merged.origins.find)(each.path) in inside
        ]
        _report(theirs, merged.origins, findings)


def _profiles(user: Merged, target: str, findings: Findings) -> list[Profile]:
    """The deployment model's profile, the target's hardware profile, what those of others offer; none under what is no manifest."""
    if "spec" not in user.tree:
        return []
    model = text_at(user.tree, "spec", "deployment", "model") or DEPLOYMENT_MODELS[0]
    names = [model] if model in DEPLOYMENT_MODELS else []
    known, others = hardware_profiles(), list[Profile]()
    for path, name, spec in entries(user.tree, "spec", "targets"):
        profile = spec.get("profile")
        if isinstance(profile, str) and profile not in known:
            span = user.origins.find((*path, "profile"))
            advice = nearest(profile, known, "profiles")
            findings.add("unknown-profile", f"there is no hardware profile `{profile}`", span, advice=advice)
        elif isinstance(profile, str) and name == target:
            names.append(profile)
        elif isinstance(profile, str):
            others.append(read_offer(profile, user.tree, name, findings))
    return [*(read_profile(name, user.tree, target, findings) for name in names), *others]


def _digest(agent: Agent, target: str, includes: Mapping[TreePath, Included]) -> str:
    # Defaults are left out: a later paictl that knows a further field must not change the digest of an old manifest.
    content = agent.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"overlays"})
    hashes = sorted((".".join(map(str, path)), each.sha256) for path, each in includes.items())
    text = json.dumps([1, target, content, hashes], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
