"""Help pages that fit the reader's terminal, down to 40 columns. Used by every verb; knows no verb."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import click

from paictl.cli.console.table import wrap
from paictl.cli.console.terminal import Terminal

__all__ = ["VerbCommand", "definitions", "help_option", "page_width"]


def page_width() -> int:
    """Columns of a help page: the terminal's, at most 88, so that lines stay readable."""
    return max(30, min(88, shutil.get_terminal_size((80, 24)).columns))


def definitions(rows: Sequence[tuple[str, str]], width: int, column: int = 0) -> list[str]:
    """``name  text`` lines; below 60 columns the text stands under its name."""
    if width < 60:
        return [
            line for name, text in rows for line in (f"  {name}", *(f"      {part}" for part in wrap(text, width - 6)))
        ]
    column = column or min(max(len(name) for name, _ in rows), width // 2 - 4)
    lines: list[str] = []
    for name, text in rows:
        parts = wrap(text, width - column - 4) or [""]
        if len(name) > column:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name:<{column}}  {parts.pop(0)}".rstrip())
        lines += [" " * (column + 4) + part for part in parts]
    return lines


def help_option() -> click.Option:
    """``-h`` and ``--help``, written as every result is: click's own would not degrade where there is no UTF-8."""

    def show(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            Terminal().write(ctx.get_help())
            ctx.exit()

    return click.Option(
        ["-h", "--help"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show this page."
    )


class VerbCommand(click.Command):
    """A command whose own flags stand before those that every verb has."""

    common: frozenset[str] = frozenset()

    def get_help_option(self, _ctx: click.Context) -> click.Option:
        """Ours instead of click's."""
        return help_option()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, what it does, its own flags, the common flags."""
        width = page_width()
        pieces = " ".join(self.collect_usage_pieces(ctx)).replace("[OPTIONS]", "[FLAGS]")
        lines = wrap(f"Usage: {ctx.command_path} {pieces}", width, "       ")
        for paragraph in (self.help or "").split("\n\n"):
            lines += ["", *wrap(" ".join(paragraph.split()), width)]
        own, common = self._rows(ctx)
        column = max((len(name) for name, _ in (*own, *common) if len(name) <= 28), default=0)
        if own:
            lines += ["", "Flags:", *definitions(own, width, column)]
        if common:
            lines += ["", "Flags that every verb has (each also as PAICTL_…):", *definitions(common, width, column)]
        formatter.write("\n".join(lines) + "\n")

    def _rows(self, ctx: click.Context) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                (common if param.name in self.common else own).append(record)
        return own, common
