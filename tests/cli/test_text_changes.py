"""A text that changes, such as an agent's instructions, is shown in a plan by the lines that differ."""

from __future__ import annotations

import pytest

from paictl.cli.console.table import cell_width
from paictl.cli.console.terminal import Terminal
from paictl.cli.plan_view import plan_lines
from paictl.engine.model import Address, Change, Plan, Step

_WHO = "You are Atlas, a personal agent of somebody who reads a lot and has no time, so be kind and be "


def _shown(monkeypatch: pytest.MonkeyPatch, change: Change, columns: int = 80, verbosity: int = 0) -> list[str]:
    """What stands under the step, without its indentation of six."""
    monkeypatch.setenv("COLUMNS", str(columns))
    address = Address("here", "native", "file", "agent.json")
    plan = Plan("atlas", "here", (Step(f"update:{address}", address, "update", "x", changes=(change,)),), 0, "h")
    lines = plan_lines(plan, Terminal(color=False, verbosity=verbosity))
    assert max(map(cell_width, lines)) <= columns
    return [line[6:] for line in lines if line.startswith(" " * 6)]


def test_a_line_that_is_added_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    change = Change("instructions", "Be brief.\nBe kind.\n", "Be brief.\nBe kind.\nSay so when you don't know.\n")
    assert _shown(monkeypatch, change) == [
        "instructions:",
        "  @@ -2 +2,2 @@",
        "   Be kind.",
        "  +Say so when you don't know.",
    ]


@pytest.mark.parametrize("columns", [80, 40])
def test_of_two_long_lines_what_differs_is_seen(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    _, _, old, new = _shown(monkeypatch, Change("instructions", f"{_WHO}brief.", f"{_WHO}thorough."), columns)
    assert old == "  -…time, so be kind and be brief."
    assert new.startswith("  +…time, so be kind and be th")


def test_with_v_the_lines_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _shown(monkeypatch, Change("instructions", f"{_WHO}brief.", f"{_WHO}thorough."), verbosity=1)
    squeezed = "".join(shown[1:]).replace(" ", "")
    assert squeezed == f"@@ -1 +1 @@-{_WHO}brief.+{_WHO}thorough.".replace(" ", "")


def test_a_long_list_is_compared_entry_by_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [f"api{number}.example.org" for number in range(9)]
    assert _shown(monkeypatch, Change("egress", hosts, [*hosts[:4], *hosts[5:]])) == [
        "egress:",
        "  @@ -5,3 +5,2 @@",
        '     "api3.example.org",',
        '  -  "api4.example.org",',
        '     "api5.example.org",',
    ]


def test_a_change_of_line_ends_alone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _shown(monkeypatch, Change("instructions", "Be brief.\r\nBe kind.", "Be brief.\nBe kind.")) == [
        "instructions:",
        "  (only how its lines end)",
    ]


def test_short_values_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _shown(monkeypatch, Change("port", 8700, 8740)) == ["port: 8700 → 8740"]
