"""Tells what is wrong with a text that is no YAML in words that a person can act on; called by ``source``."""

from __future__ import annotations

import re

from ruamel.yaml.error import MarkedYAMLError

from paictl.errors import Span
from paictl.manifest.findings import Findings

__all__ = ["report_syntax"]

# ruamel's words -> what a person can do about it.
_PLAIN_WORDS: tuple[tuple[str, str, str], ...] = (
    (r"found character '\\t'|found a tab", "yaml-tab", "replace the tab by spaces; YAML indents with spaces only"),
    (
        r"mapping values are not allowed",
        "yaml-syntax",
        "indent this line like its siblings; text that contains `: ` needs quotes",
    ),
    (
        r"expected <block end>|did not find expected '-' indicator|expected the node content",
        "yaml-syntax",
        "indent this line exactly like its siblings",
    ),
    (r"could not find expected ':'", "yaml-syntax", "a key needs a colon and a space after it"),
    (r"expected ',' or '[}\]]'", "yaml-syntax", "separate the items by commas, and close the bracket"),
    (r"quoted scalar|unexpected end of stream", "yaml-syntax", "close the quotation mark"),
    (r"cannot start any token", "yaml-syntax", "put the value in quotes"),
)


def report_syntax(error: MarkedYAMLError, file: str, lines: tuple[str, ...], findings: Findings) -> None:
    """Report ruamel's error, at the place where the person has to change something."""
    mark = error.problem_mark or error.context_mark
    problem = str(error.problem or error.context or "can't be read")
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    if line >= len(lines) and lines:
        line, column = len(lines) - 1, max(0, len(lines[-1]) - 1)
    text = lines[line] if lines else ""
    code, advice = "yaml-syntax", "check the indentation and the quotation marks around here"
    for pattern, its_code, its_advice in _PLAIN_WORDS:
        if re.search(pattern, problem):
            code, advice = its_code, its_advice
            break
    before = lines[line - 1] if line else ""
    glued = re.match(r" *[\w-]+:(?=[^\s:/])", before)
    if "mapping values" in problem and glued:
        line, column, advice = line - 1, glued.end() - 1, "put a space after the colon"
    indent = re.match(r" *\t", text)
    if indent:
        code, advice, column = "yaml-tab", _PLAIN_WORDS[0][2], indent.end() - 1
    summary = "a tab where YAML wants spaces" if code == "yaml-tab" else f"not YAML: {problem}"
    findings.add(code, summary, Span(file, line + 1, column + 1), advice=advice)
