from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paictl.engine.fingerprint import fingerprint, known_version, matches, normalise

_GOLDEN = json.loads(Path(__file__).with_name("fingerprints.json").read_text())

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_SPEC = st.dictionaries(st.text(min_size=1, max_size=3), _JSON, max_size=4)


@pytest.mark.promise(3)
@pytest.mark.parametrize("golden", _GOLDEN, ids=[golden["why"] for golden in _GOLDEN])
def test_a_fingerprint_never_changes_between_releases(golden: dict[str, Any]) -> None:
    """These were committed with the first release. Whoever changes one recreates everything that stands anywhere."""
    assert fingerprint(golden["spec"]) == golden["fingerprint"]


@pytest.mark.promise(3)
@given(_SPEC, st.sampled_from([None, False, "", [], {}, {"inner": None}]))
def test_a_new_optional_field_changes_no_fingerprint(spec: dict[str, object], default: object) -> None:
    assert fingerprint({**spec, "a new field": default}) == fingerprint(spec)


@given(_SPEC)
def test_the_order_of_keys_and_a_round_trip_through_json_change_nothing(spec: dict[str, object]) -> None:
    turned = dict(reversed(spec.items()))
    assert fingerprint(turned) == fingerprint(spec) == fingerprint(json.loads(json.dumps(spec)))


@given(_SPEC)
def test_normalising_twice_is_normalising_once(spec: dict[str, object]) -> None:
    assert normalise(normalise(spec)) == normalise(spec)


@given(_SPEC, _SPEC)
def test_specs_that_differ_have_other_fingerprints(one: dict[str, object], other: dict[str, object]) -> None:
    same = json.dumps(normalise(one)) == json.dumps(normalise(other))
    assert (fingerprint(one) == fingerprint(other)) is same


def test_zero_is_a_value_and_true_is_not_one() -> None:
    assert len({fingerprint({"n": value}) for value in (0, 1, True, "1", None)}) == 5
    assert fingerprint({"n": 1.0}) == fingerprint({"n": 1})


def test_a_label_of_an_unknown_version_matches_nothing() -> None:
    assert not known_version("v99:abc")
    assert not known_version("")
    assert not matches({}, "v99:abc", fingerprint({}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
def test_what_is_not_json_has_no_fingerprint(value: object) -> None:
    with pytest.raises((TypeError, ValueError), match="is not JSON data"):
        fingerprint({"field": value})
