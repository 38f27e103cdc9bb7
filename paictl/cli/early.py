"""What has to be known of the command line before it is parsed: where an error would go, and where the verb begins.

Called by ``main``; looks at words alone, and never fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import cast

from paictl.cli.console.terminal import Output, Terminal

__all__ = ["early_terminal", "leading_flags"]


def early_terminal(argv: Sequence[str], settings: Mapping[str, object]) -> Terminal:
    """The terminal for errors, which may come before the flags are parsed: their plain forms are looked for by eye."""
    output = os.environ.get("PAICTL_OUTPUT", str(settings.get("output", "text")))
    for index, word in enumerate(argv):
        if word == "--" or argv[0] == "render":
            break
        if word in {"-o", "--output"} and index + 1 < len(argv):
            output = argv[index + 1]
        elif word.startswith("--output="):
            output = word.partition("=")[2]
        elif word.startswith("-o") and not word.startswith("--"):
            output = word[2:]
    plain = (os.environ.get("NO_COLOR"), os.environ.get("PAICTL_NO_COLOR"), settings.get("no_color"))
    color = "--no-color" not in argv and not any(plain)
    return Terminal(output=cast("Output", output) if output in {"json", "yaml"} else "text", color=color)


# The common flags that are followed by a value, and what a short name of theirs is called in full.
_TAKE_VALUE = frozenset(
    "-f --file -t --target --driver -o --output --state-dir --timeout --lock-timeout".split()  # noqa: SIM905 - reads better
)
_LONG = {"-f": "--file", "-o": "--output"}


def leading_flags(argv: Sequence[str]) -> list[str]:
    """``paictl -t pi status`` means ``paictl status -t pi``: common flags before the verb are moved behind it."""
    index = 0
    while index < len(argv) and argv[index].startswith("-") and argv[index] not in {"-h", "--help", "--version", "-"}:
        index += 2 if argv[index] in _TAKE_VALUE else 1
    # Behind the verb, -f and -o may mean something of its own.
    moved = [_LONG.get(word, word) for word in argv[:index]]
    return [*argv[index : index + 1], *moved, *argv[index + 1 :]] if index < len(argv) else list(argv)
