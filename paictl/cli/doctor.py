"""``paictl doctor``: what is wrong here, with evidence, and the exact command that mends it."""

from __future__ import annotations

from collections.abc import Sequence

from paictl.cli.checks import IDS, Finding, examine
from paictl.cli.console.table import wrap
from paictl.cli.console.terminal import Terminal
from paictl.cli.flags import Call, option, verb_command
from paictl.errors import ExitCode

__all__ = ["verb"]


@verb_command("doctor")
@option("--fix", is_flag=True, help="Mend what can be mended without asking.")
def verb(call: Call, fix: bool) -> int:
    """Look for what is wrong on this machine and with this manifest; name the command that mends each finding.

    Exit code 1 when an error remains. The ids are stable: scripts may rely on them.
    """
    findings = list(examine(call))
    mended: set[int] = set()
    if fix:
        for index, finding in enumerate(findings):
            if finding.mend is not None:
                finding.mend()
                mended.add(index)
    document = {
        "format": "1",
        "findings": [
            {
                "id": finding.id,
                "severity": finding.severity,
                "summary": finding.summary,
                "evidence": finding.evidence,
                "command": finding.command,
                "mended": index in mended,
            }
            for index, finding in enumerate(findings)
        ],
    }
    call.terminal.result(document, lambda: _lines(call.terminal, findings, mended))
    remain = any(finding.severity == "error" for index, finding in enumerate(findings) if index not in mended)
    return ExitCode.FAILED if remain else ExitCode.OK


def _lines(terminal: Terminal, findings: Sequence[Finding], mended: set[int]) -> list[str]:
    if not findings:
        return [terminal.style("✓", fg="green") + f" nothing to mend ({len(IDS)} checks)"]
    lines: list[str] = []
    for index, finding in enumerate(findings):
        color = "green" if index in mended else "red" if finding.severity == "error" else "yellow"
        word = "mended" if index in mended else finding.severity
        lines.append(f"{terminal.style(f'{word}:', fg=color, bold=True)} {finding.id}")
        lines += wrap(f"  {finding.summary}", terminal.width, "  ")
        lines += wrap(f"  {finding.evidence}", terminal.width, "  ")
        if index not in mended:
            lines += wrap(f"  → {finding.command}", terminal.width, "    ")
        lines.append("")
    return lines[:-1]
