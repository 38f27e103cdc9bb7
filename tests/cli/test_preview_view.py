"""What a step would change, as a person reads it: on a terminal, on a phone, and with -v."""

from __future__ import annotations

import pytest

from paictl.cli.console.page import Page
from paictl.cli.console.table import cell_width
from paictl.cli.console.terminal import Terminal
from paictl.cli.plan_view import plan_document, plan_lines
from paictl.cli.preview_view import preview_document, preview_lines
from paictl.engine.model import Address, Plan, Step
from paictl.engine.preview import Difference, Preview, TaskPreview

_LONG = (
    "+ExecStart=/opt/paictl/runtime/f29c1e8ab413/venv/bin/python -I -m paictl.runtime.gateway 日本語日本語日本語日本語"
)
PREVIEW = Preview(
    (
        TaskPreview("Describe the room", certain=True),
        TaskPreview(
            "Install the unit",
            differences=(
                Difference("/etc/systemd/system/paictl-beacon-gateway.service", ("@@ -1 +1 @@", "-a", _LONG)),
            ),
        ),
        TaskPreview("Write it all", differences=(Difference("", tuple(f"+{number}" for number in range(40))),)),
        TaskPreview("Load them", certain=False),
    ),
    "can't be told before runtime/f29c1e8ab413 (Look what runs: No such file or directory)",
)


def _lines(monkeypatch: pytest.MonkeyPatch, columns: int, *, detail: bool = False) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal(color=False)
    page = Page(terminal, terminal.out, detail)
    assert page.width == columns
    return list(preview_lines(PREVIEW, page))


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("detail", [False, True])
def test_a_preview_fits_and_says_what_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch, columns: int, detail: bool
) -> None:
    lines = _lines(monkeypatch, columns, detail=detail)
    assert max(map(cell_width, lines)) <= columns
    text = "\n".join(lines)
    assert ("and 28 more lines; -v shows them" in text) is not detail
    assert ("+39" in text) is detail
    squeezed = text.replace("\n", "").replace(" ", "")
    assert (_LONG.replace(" ", "") in squeezed) is detail
    assert "can'tbetoldbeforeruntime/f29c1e8ab413" in squeezed
    assert "runs,andonlythentellswhatitchanges:Loadthem" in squeezed


def test_it_reads_from_the_task_to_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _lines(monkeypatch, 80)[:6] == [
        "      * Describe the room",
        "      * Install the unit",
        "        /etc/systemd/system/paictl-beacon-gateway.service",
        "        @@ -1 +1 @@",
        "        -a",
        "        +ExecStart=/opt/paictl/runtime/f29c1e8ab413/venv/bin/python -I -m paict…",
    ]


def test_what_a_terminal_would_obey_is_not_shown_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sly = Preview((TaskPreview("t", differences=(Difference("/x", ("+\x1b]0;sly\x07\tfar",)),)),))
    terminal = Terminal(color=False)
    assert "".join(preview_lines(sly, Page(terminal, terminal.out, detail=True))).isprintable()


def test_each_preview_stands_under_its_step_and_in_its_document() -> None:
    told, silent = (Address("here", "ansible", "service", name) for name in ("told", "silent"))
    steps = tuple(Step(f"create:{one}", one, "create", "x") for one in (told, silent))
    plan = Plan("beacon", "here", steps, 0, "h")
    previews = {told: Preview((TaskPreview("Install the unit"),))}
    _, _, first, under, second, *_ = plan_lines(plan, Terminal(color=False), previews=previews)
    assert ("told" in first, under.strip(), "silent" in second) == (True, "* Install the unit", True)
    found = plan_document(plan, previews=previews)["steps"]
    assert isinstance(found, list)
    assert [one["preview"] for one in found] == [preview_document(previews[told]), None]
    assert "preview" not in plan_document(plan)["steps"][0]  # type: ignore[index]
