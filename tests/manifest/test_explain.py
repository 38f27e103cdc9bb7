from __future__ import annotations

import pytest

from paictl.errors import UsageError
from paictl.manifest.explain import all_fields, explain
from paictl.manifest.models import Agent
from paictl.manifest.shape import Shape, shape_of


def test_a_field_is_explained_with_type_default_meaning_and_example() -> None:
    field = explain("spec.memory.store")
    assert field.description == "Where memories are kept."
    assert [child.name for child in field.children] == ["engine", "manage", "url", "secret", "classes"]
    assert field.example.startswith("{engine: ")
    engine = explain("spec.memory.store.engine")
    assert (engine.default, engine.required) == ("embedded", False)
    assert engine.choices[0] == "embedded"


def test_any_name_stands_for_all() -> None:
    named, general = explain("spec.models.chat.source"), explain("spec.models.NAME.source")
    assert named == general
    assert named.path == "spec.models.NAME.source"
    assert named.example.startswith("hf://")


def test_lists_are_looked_through() -> None:
    assert explain("spec.continuity.facts.ask") == explain("spec.continuity.facts[].ask")
    assert explain("spec.continuity.facts.ask").required


def test_the_empty_path_is_the_whole_manifest() -> None:
    assert [child.name for child in explain().children][:4] == ["apiVersion", "kind", "metadata", "spec"]


@pytest.mark.parametrize(
    ("path", "summary", "advice"),
    [
        ("spec.memry", "`memry` is not a field of spec", "did you mean `memory`?"),
        ("spec.models.chat.sorce", "`sorce` is not a field of spec.models.NAME", "did you mean `source`?"),
        ("metadata.name.x", "`x` is not a field of metadata.name", "metadata.name has no fields"),
    ],
)
def test_an_unknown_field_gets_the_nearest_one(path: str, summary: str, advice: str) -> None:
    with pytest.raises(UsageError) as raised:
        explain(path)
    assert (raised.value.summary, raised.value.help) == (summary, advice)


def test_every_example_and_default_in_the_models_is_valid_where_it_stands() -> None:
    import re

    for field in all_fields():
        shape: Shape | None = shape_of(Agent).at(
            tuple("name" if p == "NAME" else p for p in field.path.split(".") if p)
        )
        text = shape.branch("text") if shape is not None else None
        if text is None or not text.pattern or shape is None or shape.is_union:
            continue
        for value in (field.example, field.default):
            assert not value or re.search(text.pattern, value), (field.path, value)
