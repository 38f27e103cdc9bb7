from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paictl.manifest.findings import Findings
from paictl.manifest.source import Source, parse


def _parse(text: str) -> Source:
    findings = Findings()
    source = parse(text, "agent.yaml", Path(), findings)
    assert source is not None, list(findings)
    assert not findings.errors, list(findings)
    return source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("0755", 755),
        ("0o755", 493),
        ("0x1f", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-11-23", "2026-11-23"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("8k", "8k"),
        ("127.0.0.1", "127.0.0.1"),
        ('"5"', "5"),
        ("'true'", "true"),
        ("-", None),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: Any) -> None:
    if text == "-":
        assert _parse("a: '-'").tree == {"a": "-"}
    else:
        assert _parse(f"a: {text}").tree == {"a": value}


def test_every_key_and_value_has_its_place() -> None:
    source = _parse('a:\n  b: one\n  "c": [x, {d: "two"}]\n')
    places = {
        path: (p.key and (p.key.line, p.key.column, p.key.length), (p.value.line, p.value.column, p.value.length))
        for path, p in source.places.items()
    }
    assert places["a", "b"] == ((2, 3, 1), (2, 6, 3))
    assert places["a", "c"][0] == (3, 3, 3)
    assert places["a", "c", 0] == (None, (3, 9, 1))
    assert places["a", "c", 1, "d"] == ((3, 13, 1), (3, 16, 5))


def test_a_block_is_shown_by_its_key() -> None:
    place = _parse("a:\n  b: 1\n").places["a",]
    assert (place.value.line, place.value.column, place.value.length) == (1, 1, 1)


def test_an_alias_is_a_copy_with_the_anchors_places() -> None:
    source = _parse("x-base: &base {task: chat}\na: *base\nb: *base\n")
    assert source.tree["a"] == source.tree["b"] == {"task": "chat"}
    source.tree["a"]["task"] = "embed"
    assert source.tree["b"] == {"task": "chat"}
    assert source.places["a", "task"].value.line == 1
    key = source.places["a",].key
    assert key is not None
    assert key.line == 2


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    assert _parse("a: 1\r\nb: |\r\n  x\r\n  y\r\n").tree == {"a": 1, "b": "x\ny\n"}


def test_long_texts_keep_their_characters() -> None:
    text = "Grüße 👋 — „ja“"
    assert _parse(f"a: {text}\nb: |\n  {text}\n").tree == {"a": text, "b": f"{text}\n"}
