from __future__ import annotations

from typing import Any

import pytest

from paictl.drivers.kubernetes.documents import compared, parse, untouched

_POLICY: dict[str, Any] = {
    "labels": {"app": "one"},
    "annotations": {},
    "podSelector": {"matchLabels": {"app": "one"}},
    "ingress": [{"from": [{"podSelector": {}}]}],
}


def _with(**changes: Any) -> dict[str, Any]:
    return {**_POLICY, **changes}


def test_what_is_live_to_the_letter_needs_no_dry_run_whatever_stands_beside_it() -> None:
    live = _with(labels={"app": "one", "theirs": "2"}, annotations={"by": "a controller"}, policyTypes=["Ingress"])
    assert untouched(_POLICY, live)
    assert compared(_POLICY, {"anything": "else"} | live, live) == _POLICY


@pytest.mark.parametrize(
    "live",
    [
        _with(labels={"app": "two"}),
        _with(labels={}),
        _with(podSelector={"matchLabels": {"app": "one", "and": "none"}}),
        _with(ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": 1}]}]),
        {key: value for key, value in _POLICY.items() if key != "ingress"},
    ],
    ids=["a label", "no label", "a selector", "a rule", "a field less"],
)
def test_what_reads_otherwise_does(live: dict[str, Any]) -> None:
    assert not untouched(_POLICY, live)
    assert compared(_POLICY, _with(policyTypes=["Ingress"]), live) != _POLICY


def test_a_quantity_in_the_servers_own_words_is_what_was_applied() -> None:
    applied = {"resources": {"requests": {"storage": "1024Mi"}}}
    live = {"resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"}
    assert not untouched(applied, live)
    assert compared(applied, live, live) == applied


def test_documents_are_read_as_plain_structures() -> None:
    text = '---\n# nothing\n---\nkind: A\ndata: {"a": "on", b: 1}\n---\nkind: B\nlist:\n- x: "1"\n'
    assert list(parse(text)) == [{"kind": "A", "data": {"a": "on", "b": 1}}, {"kind": "B", "list": [{"x": "1"}]}]
