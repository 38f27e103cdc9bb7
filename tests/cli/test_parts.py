"""The parts that decide without a process: tables, flowing text, reports, events in words."""

from __future__ import annotations

import pytest

from paictl.cli.console.flow import Flow
from paictl.cli.console.progress import PlainLines
from paictl.cli.console.report import redact
from paictl.cli.console.sayings import said
from paictl.cli.console.table import cell_width, table, wrap
from paictl.cli.console.terminal import Terminal
from paictl.events import Event
from paictl.sizes import byte_count

ROWS = [("gateway", "running", "where everybody meets and nobody stays for long"), ("agent", "starting", "")]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_a_table_never_runs_over_the_edge_and_loses_no_word(width: int) -> None:
    lines = table(("SERVICE", "STATE", "NOTE"), ROWS, width)
    assert max(map(cell_width, lines)) <= width
    words = " ".join(lines).split()
    for row in ROWS:
        for word in " ".join(row).split():
            assert word in words


def test_a_column_that_says_nothing_is_left_out() -> None:
    assert table(("A", "B", "C"), [("1", "", "2")]) == ["A  C", "1  2"]


def test_wide_characters_and_colours_are_counted_as_they_are_seen() -> None:
    assert cell_width("日本") == 4
    assert cell_width("e\u0301") == 1
    assert cell_width("\x1b[32mok\x1b[0m") == 2


def test_wrapping_nothing_gives_one_empty_line() -> None:
    assert wrap("", 10) == [""]
    assert wrap("as it is, however long", 0) == ["as it is, however long"]


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 100])
def test_flowing_text_breaks_between_words_however_it_arrives(cut: int) -> None:
    text = "It began with a sailor\n\nwho was young, brave and extraordinarily fond of long sentences."
    came: list[str] = []
    flow = Flow(came.append, 20)
    for start in range(0, len(text), cut):
        flow.add(text[start : start + cut])
    flow.end()
    shown = "".join(came)
    assert max(map(len, shown.splitlines())) <= 20
    assert shown.split() == text.split()
    assert "sailor\n\nwho" in shown


def test_into_a_pipe_text_flows_as_it_is() -> None:
    came: list[str] = []
    flow = Flow(came.append, 0)
    flow.add("half a wo")
    assert came == ["half a wo"]


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-AbCdEf0123456789-xyz",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "eyJhbGciOiJIUzI1NiJ9eyJzdWIiOiIxMjM0NTY3ODkwIn0",
    ],
)
def test_what_looks_like_a_key_does_not_get_into_a_report(secret: str) -> None:
    assert secret not in redact(f"unexpected header {secret!r} in request")


def test_values_of_secret_looking_variables_do_not_get_into_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "correct horse")
    assert redact("it said correct horse to me") == "it said [redacted] to me"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Event("step-begin", "service/a", {"action": "create"}), "creating"),
        (Event("step-end", "service/a", {"action": "update", "ok": True}), "updated"),
        (Event("step-end", "service/a", {"ok": False, "reason": "it crashed"}), "failed: it crashed"),
        (Event("progress", "weights/a", {"what": "download a.gguf", "done": 25, "total": 100}), "download a.gguf 25 %"),
        (Event("progress", "venv/a", {"what": "install", "done": 0, "total": 0}), "install"),
        (Event("health", "service/a", {"state": "starting", "detail": "no answer"}), "starting: no answer"),
        (Event("warning", "", {"code": "x", "text": "careful"}), "warning: careful"),
        (
            Event("continuity", "", {"fact": "Who?", "held": False, "when": "after"}),
            'continuity (after): "Who?" does not hold',
        ),
        (Event("something-new", "", {}), ""),
    ],
)
def test_events_in_words(event: Event, words: str) -> None:
    assert said(event) == words


def test_a_log_gets_a_download_in_quarters_not_every_chunk(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines(Terminal())
    for done in range(101):
        lines(Event("progress", "weights/chat", {"what": "download a.gguf", "done": done, "total": 100}))
    assert capsys.readouterr().err.splitlines() == [
        f"weights/chat: download a.gguf {done} %" for done in (0, 25, 50, 75, 100)
    ]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (98_362_432, "98.4 MB"), (122_000_000, "122 MB"), (21.9e9, "21.9 GB")],
)
def test_bytes_in_words(count: float, words: str) -> None:
    assert byte_count(count) == words
