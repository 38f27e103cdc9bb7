"""A made-up older version, ``pai/v0test``, followed by another, ``pai/v0test2``: proof that the chain works."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from paictl.errors import ManifestError
from paictl.manifest.load import load
from paictl.manifest.migrate import migrate
from paictl.manifest.versions import VERSIONS, Version


class _Zero(BaseModel):
    model_config = ConfigDict(extra="forbid")
    apiVersion: str  # noqa: N815 - the field's name in the file
    agent: str
    owner: str
    port: int = 8700
    llm: dict[str, Any] = {}
    platform: str


class _One(BaseModel):
    model_config = ConfigDict(extra="forbid")
    apiVersion: str  # noqa: N815 - the field's name in the file
    kind: str
    metadata: dict[str, str]
    spec: dict[str, Any]


def _zero_to_one(tree: MutableMapping[str, Any]) -> None:
    from ruamel.yaml.comments import CommentedMap

    tree["kind"] = "Agent"
    tree["metadata"] = {"name": tree.pop("agent"), "owner": tree.pop("owner")}
    spec: MutableMapping[str, Any] = CommentedMap()
    spec["model"] = tree.pop("llm")
    spec["targets"] = {"here": {"driver": tree.pop("platform")}}
    if "port" in tree:
        spec["gateway"] = {"port": tree.pop("port")}
    tree["spec"] = spec


def _one_to_current(tree: MutableMapping[str, Any]) -> None:
    model = tree["spec"].pop("model")
    model["task"] = "chat"
    tree["spec"]["models"] = {"chat": model}


_CHAIN = (
    Version("pai/v0test", _Zero, _zero_to_one),
    Version("pai/v0test2", _One, _one_to_current),
    *VERSIONS,
)
_OLD = """\
# My agent, since the first day.
apiVersion: pai/v0test
agent: atlas # after the mountains
owner: alice
# Small, but mine.
llm:
  # chosen on a rainy Sunday
  source: "hf://a/b/c.gguf"  # 135 million parameters
platform: native
port: 9000
"""


def test_an_old_manifest_goes_through_the_whole_chain_and_keeps_its_comments() -> None:
    new, diff = migrate(_OLD, versions=_CHAIN)
    assert "apiVersion: pai/v1alpha1\n" in new
    for comment in ("# My agent, since the first day.", "# chosen on a rainy Sunday", "# 135 million parameters"):
        assert comment in new
    assert '"hf://a/b/c.gguf"' in new
    assert "-apiVersion: pai/v0test\n" in diff
    assert "+apiVersion: pai/v1alpha1\n" in diff


def test_a_migrated_manifest_is_current_and_migrates_to_itself() -> None:
    new, _ = migrate(_OLD, versions=_CHAIN)
    assert migrate(new, versions=_CHAIN) == (new, "")


_MIDDLE = """\
apiVersion: pai/v0test2
kind: Agent
metadata: {name: a, owner: b}
spec:
  targets: {t: {driver: native}}
  model: {source: "hf://a/b/c"}
"""


def test_the_chain_is_entered_where_the_manifest_stands() -> None:
    new, _ = migrate(_MIDDLE, versions=_CHAIN)
    assert "models:" in new


def test_an_old_manifest_loads_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(_OLD)
    manifest = load(["agent.yaml"], env={}, cwd=tmp_path, versions=_CHAIN)
    assert manifest.agent.metadata.name == "atlas"
    assert manifest.agent.spec.models["chat"].source == "hf://a/b/c.gguf"
    assert manifest.agent.spec.gateway.port == 9000
    assert manifest.target == "here"
    assert (tmp_path / "agent.yaml").read_text() == _OLD
    assert manifest.origins.find(("spec", "gateway", "port")).file == "agent.yaml (as pai/v1alpha1)"


def test_an_old_manifest_is_checked_by_its_own_versions_parser(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(_OLD.replace("port: 9000", "prot: 9000"))
    with pytest.raises(ManifestError) as raised:
        load(["agent.yaml"], env={}, cwd=tmp_path, versions=_CHAIN)
    (error,) = raised.value.diagnostics
    assert (error.code, str(error.span), error.help) == ("unknown-key", "agent.yaml:10:1", "did you mean `port`?")
    with pytest.raises(ManifestError):
        migrate(_OLD.replace("port: 9000", "prot: 9000"), versions=_CHAIN)


def test_a_version_of_the_future_is_refused() -> None:
    with pytest.raises(ManifestError) as raised:
        migrate("apiVersion: pai/v9\n")
    assert raised.value.diagnostics[0].code == "unknown-version"


def test_a_current_manifest_is_left_alone() -> None:
    text = Path("examples/full/agent.yaml").read_text(encoding="utf-8")
    assert migrate(text) == (text, "")


def test_the_current_version_is_the_last_and_leads_nowhere() -> None:
    assert VERSIONS[-1].upgrade is None
    assert all(version.upgrade is not None for version in VERSIONS[:-1])
