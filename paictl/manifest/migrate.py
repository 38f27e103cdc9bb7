"""Rewrites a manifest of an older version as the current one, keeping its comments. ``migrate`` and ``load`` call this."""

from __future__ import annotations

import difflib
import io
import re
from pathlib import Path

from ruamel.yaml import YAML

from paictl.errors import Span
from paictl.manifest.findings import Findings
from paictl.manifest.shape import shape_of
from paictl.manifest.source import Source, parse
from paictl.manifest.structure import validated, without_extensions
from paictl.manifest.versions import VERSIONS, Version, find_version

__all__ = ["migrate", "to_current"]


def migrate(text: str, file: str = "agent.yaml", versions: tuple[Version, ...] = VERSIONS) -> tuple[str, str]:
    """The manifest in the current version, and a unified diff to it; the diff is empty when nothing was to be done.

    Raises ``ManifestError`` when the text is not a valid manifest of its own version.
    """
    findings = Findings()
    source = parse(text, file, Path(), findings)
    index = find_version(source.tree.get("apiVersion"), versions) if source is not None else None
    if source is not None and index is None:
        known = ", ".join(each.api_version for each in versions)
        span = source.places[("apiVersion",) if "apiVersion" in source.tree else ()].value
        found = source.tree.get("apiVersion")
        findings.add("unknown-version", f"apiVersion is `{found}`", span, advice=f"this paictl reads {known}")
    elif source is not None and index is not None:
        _check_frozen(source, versions[index], findings)
    findings.raise_errors(file)
    new = _upgraded(text, index or 0, versions)
    diff = difflib.unified_diff(
        text.splitlines(keepends=True), new.splitlines(keepends=True), file, f"{file} (migrated)"
    )
    return new, "".join(diff)


def to_current(
    source: Source, text: str, findings: Findings, versions: tuple[Version, ...] = VERSIONS, *, whole: bool = True
) -> Source | None:
    """The same file in the current version. ``whole`` files are checked by their own version's parser first.

    What is not of a known version is returned as it is: the check against the current types says what is wrong. ``None``
    when it is not even valid by its own version, which ``findings`` then tells.
    """
    index = find_version(source.tree.get("apiVersion"), versions)
    if index is None or index == len(versions) - 1:
        return source
    if whole:
        before = len(tuple(findings))
        _check_frozen(source, versions[index], findings)
        if len(tuple(findings)) > before:
            return None
    # Its lines are not those of the file any more, so messages must not claim that they are.
    file = f"{source.file} (as {versions[-1].api_version})"
    return parse(_upgraded(text, index, versions), file, source.folder, findings)


def _check_frozen(source: Source, version: Version, findings: Findings) -> None:
    tree = without_extensions(source.tree, shape_of(version.parser))
    for each in validated(version.parser, tree)[1]:
        prefixes = (each.path[:end] for end in range(len(each.path), -1, -1))
        place = source.places[next(path for path in prefixes if path in source.places)]
        span: Span = place.key if each.at_key and place.key is not None else place.value
        findings.add(each.code, each.summary, span, advice=each.help)


def _upgraded(text: str, index: int, versions: tuple[Version, ...]) -> str:
    if index == len(versions) - 1:
        return text
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    if re.search(r"^( *)[^\s#-][^\n]*:[ \t]*\n\1 +- ", text, re.MULTILINE):
        yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(text)
    for version, following in zip(versions[index:], versions[index + 1 :], strict=False):
        if version.upgrade is not None:
            version.upgrade(tree)
        tree["apiVersion"] = following.api_version
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()
