"""What is kept and forgotten of a message; the cases are data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from paictl.runtime.agent.intake import read

CASES: list[dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("intake.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["says"][:50] for case in CASES])
def test_a_message_is_read_as_the_data_says(case: dict[str, Any]) -> None:
    reading = read(case["says"])
    assert [one.text for one in reading.remember if one.scope == "long-term"] == case.get("keep", [])
    assert [one.text for one in reading.remember if one.scope == "session"] == case.get("session", [])
    assert list(reading.forget) == case.get("forget", [])


def test_a_pasted_text_is_material_and_not_a_list_of_statements() -> None:
    assert read("My father was born in 1950. " * 13).remember == ()
    assert read("I know that " + "very " * 200 + "well.").remember == ()
