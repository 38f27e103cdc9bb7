from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paictl.manifest.findings import Findings
from paictl.manifest.merge import Layer, Merged, merge
from paictl.manifest.source import parse

# RFC 7396, appendix A, as far as both sides are objects; nulls of the first layer are deletions too.
_CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
    ({"a": {"b": 2}}, {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("target", "patch", "result"), _CASES)
def test_layers_merge_as_rfc_7396_says(target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    assert merge([Layer(target, {}), Layer(patch, {})]).tree == result


_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
_trees = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


@given(_trees, _trees)
def test_laying_a_layer_over_itself_again_changes_nothing(first: dict[str, Any], second: dict[str, Any]) -> None:
    once = merge([Layer(first, {}), Layer(second, {})]).tree
    assert merge([Layer(first, {}), Layer(second, {}), Layer(second, {})]).tree == once


@given(_trees, _trees)
def test_merging_changes_no_layer(first: dict[str, Any], second: dict[str, Any]) -> None:
    before = repr((first, second))
    merge([Layer(first, {}), Layer(second, {})])
    assert repr((first, second)) == before


def _merged(*texts: str) -> Merged:
    findings = Findings()
    layers = []
    for index, text in enumerate(texts):
        source = parse(text, f"{index}.yaml", Path(), findings)
        assert source is not None
        layers.append(Layer(source.tree, source.places))
    return merge(layers)


def test_each_value_keeps_the_place_it_was_last_written_at() -> None:
    origins = _merged("a: {b: 1, c: 2}\n", "x: 0\na: {c: 3}\n").origins
    assert str(origins.find(("a", "b"))) == "0.yaml:1:8"
    assert str(origins.find(("a", "c"))) == "1.yaml:2:8"
    assert str(origins.key(("a",))) == "0.yaml:1:1"


def test_a_value_that_nobody_wrote_has_its_parents_place() -> None:
    origins = _merged("a: {b: 1}\n").origins
    assert origins.place(("a", "z")) is None
    assert str(origins.find(("a", "z", "y"))) == "0.yaml:1:1"


def test_what_was_replaced_leaves_no_place_behind() -> None:
    merged = _merged("a: {b: {c: 1}}\n", "a: {b: [7]}\n", "a: {b: {d: 2}}\n")
    assert merged.tree == {"a": {"b": {"d": 2}}}
    assert merged.origins.place(("a", "b", "c")) is None
    assert merged.origins.place(("a", "b", 0)) is None
    assert str(merged.origins.find(("a", "b", "d"))) == "2.yaml:1:12"
