"""Runs every case of ``tests/plans/<rule>/<case>.yaml``: what is desired, what stands, what is remembered -> the plan's lines.

Words of a case: ``promise``, ``desired`` and ``before`` (the last release) as in ``tests.engine.graphs.resource``;
``standing``: ``spec`` (what it was made from), ``live`` (fields changed since), ``unread`` (fields that can't be read back),
``owner``, ``instance``, ``label`` (another one than the spec's), ``health``, ``data``, ``needs``; ``recorded``; ``unsettled``;
``options``. Then either ``plan`` (with ``changes``, ``kept``, ``unchanged``, ``needs`` where they matter) or ``refused``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from paictl.engine.driver import Scope
from paictl.engine.fingerprint import fingerprint
from paictl.engine.intent import Options
from paictl.engine.inventory import Inventory, Record
from paictl.engine.model import Health, Observation, Observed
from paictl.engine.planner import Question, plan
from paictl.errors import PaictlError
from tests.engine.graphs import SCOPE, at, graph

_FOLDER = Path(__file__).parent


def _cases() -> list[Any]:
    cases = []
    for path in sorted(_FOLDER.glob("*/*.yaml")):
        case = YAML(typ="safe", pure=True).load(path)
        marks = [pytest.mark.promise(*case["promise"])] if "promise" in case else []
        cases.append(pytest.param(case, id=f"{path.parent.name}/{path.stem}", marks=marks))
    return cases


def _observed(address: str, words: dict[str, Any]) -> Observed:
    spec, unread = words.get("spec", {}), words.get("unread", ())
    live = {key: value for key, value in {**spec, **words.get("live", {})}.items() if key not in unread}
    return Observed(
        address=at(address),
        owner=words.get("owner", "mine"),
        spec=live,
        fingerprint=words.get("label", fingerprint(spec)),
        instance=words.get("instance", ""),
        health=Health(words.get("health", "healthy")),
        holds_data=words.get("data", False),
        depends_on=tuple(at(need) for need in words.get("needs", ())),
    )


def _standing(content: dict[str, Any]) -> Observation:
    found = []
    for address, words in content.items():
        several = words if isinstance(words, list) else [words or {}]
        found += [_observed(address, one) for one in several]
    return Observation(tuple(found))


def _inventory(case: dict[str, Any]) -> Inventory:
    records = {
        at(address): Record(
            fingerprint=fingerprint(words.get("spec", {})),
            instance=words.get("instance", ""),
            holds_data=words.get("data", False),
            one_shot=words.get("once", False),
            depends_on=tuple(at(need) for need in words.get("needs", ())),
        )
        for address, words in case.get("recorded", {}).items()
    }
    before = {one.address: one for one in graph(case.get("before", {}))}
    return Inventory(1, records, frozenset(at(address) for address in case.get("unsettled", ())), before)


@pytest.mark.parametrize("case", _cases())
def test_a_plan_is_what_its_case_says(case: dict[str, Any]) -> None:
    options = Options(
        delete_data=frozenset(case.get("options", {}).get("delete_data", ())),
        allow_destroy=case.get("options", {}).get("allow_destroy", False),
    )
    question = Question(
        Scope(SCOPE.agent, SCOPE.target),
        graph(case.get("desired", {})),
        _standing(case.get("standing", {})),
        _inventory(case),
    )
    if "refused" in case:
        with pytest.raises(PaictlError) as refused:
            plan(question, options)
        assert refused.value.code == case["refused"]["code"]
        assert refused.value.summary == case["refused"]["says"]
        assert refused.value.help == case["refused"]["help"]
        return
    made = plan(question, options)
    assert str(made) == case["plan"].rstrip("\n")
    assert [str(address) for address in made.kept] == case.get("kept", [])
    if "unchanged" in case:
        assert made.unchanged == case["unchanged"]
    if "changes" in case:
        told = [
            f"{change.path}: {change.before!r} -> {change.after!r}" for step in made.steps for change in step.changes
        ]
        assert told == case["changes"]
    if "needs" in case:
        assert {step.id: list(step.needs) for step in made.steps if step.needs} == case["needs"]
    assert plan(question, options).hash == made.hash
