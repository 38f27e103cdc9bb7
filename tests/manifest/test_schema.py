from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from paictl.assets import asset
from paictl.manifest.explain import all_fields
from paictl.manifest.findings import Findings
from paictl.manifest.merge import Layer, merge
from paictl.manifest.models import Agent
from paictl.manifest.profiles import DEPLOYMENT_MODELS
from paictl.manifest.schema import SCHEMA_FILE, schema
from paictl.manifest.shape import shape_of
from paictl.manifest.source import parse
from paictl.manifest.starter import starter
from paictl.manifest.structure import validated, without_extensions
from tests.manifest.conftest import SMALL

_CASES = sorted(path.parent.name for path in Path("tests/errors").glob("*/agent.yaml"))


def _tree(text: str) -> dict[str, Any] | None:
    source = parse(text, "agent.yaml", Path(), Findings())
    return merge([Layer(source.tree, {})]).tree if source is not None else None


def _accepted_by_schema(tree: dict[str, Any]) -> bool:
    return bool(Draft202012Validator(schema()).is_valid(tree))


def _accepted_by_models(tree: dict[str, Any]) -> bool:
    return validated(Agent, without_extensions(tree, shape_of(Agent)))[0] is not None


def test_the_published_schema_is_the_generated_one() -> None:
    # `make schemas` writes it.
    assert json.loads(asset("schemas", SCHEMA_FILE).read_text(encoding="utf-8")) == schema()


def test_the_schema_is_a_valid_one_of_2020_12() -> None:
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", [Path("tests/errors") / case / "agent.yaml" for case in _CASES], ids=_CASES)
def test_the_schema_refuses_what_the_types_refuse(path: Path) -> None:
    tree = _tree(path.read_text(encoding="utf-8", errors="replace"))
    if tree is not None:
        assert _accepted_by_schema(tree) == _accepted_by_models(tree)


@pytest.mark.parametrize("path", sorted(asset("examples").glob("*/agent.yaml")), ids=lambda path: path.parent.name)
def test_the_schema_accepts_every_example(path: Path) -> None:
    tree = _tree(path.read_text(encoding="utf-8"))
    assert tree is not None
    assert _accepted_by_models(tree)
    assert list(Draft202012Validator(schema()).iter_errors(tree)) == []


def test_the_schema_accepts_the_starter() -> None:
    tree = _tree(starter("atlas", "alice"))
    assert tree is not None
    assert _accepted_by_schema(tree)


@pytest.mark.parametrize("name", DEPLOYMENT_MODELS)
def test_the_schema_accepts_what_a_deployment_model_lays_under(name: str) -> None:
    profile = _tree(asset("profiles", f"{name}.yaml").read_text(encoding="utf-8"))
    small = _tree(SMALL)
    assert profile is not None
    assert small is not None
    merged = merge([Layer({"spec": profile["spec"]}, {}), Layer(small, {})]).tree
    assert _accepted_by_schema(merged)


@pytest.mark.parametrize(
    ("broken", "accepted"),
    [
        ("  x-note: 1\n", True),
        ("  gateway: {x-note: 1}\n", True),
        ("  skills: {x-ray: 5}\n", False),
        ("  skills: {Bad_Name: x}\n", False),
        ("  note: 1\n", False),
        ("  memory: {spaces: {w: {retain: 3d}}}\n", True),
        ("  memory: {spaces: {w: {retain: never}}}\n", False),
    ],
)
def test_the_escape_and_the_names_are_the_same_in_the_schema(broken: str, accepted: bool) -> None:
    tree = _tree(SMALL + broken)
    assert tree is not None
    assert (_accepted_by_schema(tree), _accepted_by_models(tree)) == (accepted, accepted)


def test_an_editor_finds_a_description_at_every_field() -> None:
    for name, each in schema()["$defs"].items():
        for key, field in each["properties"].items():
            assert {"description", "$ref"} & set(field), f"{name}.{key}"


def test_every_field_is_explained() -> None:
    fields = all_fields()
    assert len(fields) > 140
    assert [field.path for field in fields if not (field.description and field.type)] == []
