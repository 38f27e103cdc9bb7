"""The command ``paictl`` itself: finds a verb in the table and imports its module only then."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module

import click

from paictl import __version__
from paictl.cli.console.help import definitions, help_option, page_width
from paictl.cli.console.table import wrap
from paictl.cli.console.terminal import Terminal
from paictl.cli.verbs import ALIASES, GROUPS, VERBS
from paictl.errors import UsageError

__all__ = ["Program", "program"]


class Program(click.Group):
    """A group whose commands are lines of the table until one of them is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every verb, without importing any."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, with the defaults that configuration files set."""
        from paictl.cli.settings import default_flags

        verb = VERBS.get(ALIASES.get(cmd_name, cmd_name))
        if verb is None:
            return None
        command = import_module(verb.module).verb
        if not isinstance(command, click.Command):
            message = f"{verb.module}.verb is not a command"
            raise TypeError(message)
        ctx.default_map = {cmd_name: default_flags()}
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb, or an error with the nearest one."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, [*VERBS, *ALIASES], n=1, cutoff=0.5)
        nearest = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no verb {name!r}", help=f"{nearest}`paictl --help` lists them.")

    def get_help_option(self, _ctx: click.Context) -> click.Option:
        """The same as the verbs' own."""
        return help_option()

    def format_help(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs in their groups."""
        width = page_width()
        lines = wrap("Usage: paictl VERB [FILE] [FLAGS]", width, "  ")
        lines += [
            "",
            *wrap(
                "One file says everything about your own AI agent; paictl makes it true on the hardware you have.",
                width,
            ),
        ]
        column = max(len(name) for name in VERBS)
        for title, verbs in GROUPS:
            lines += ["", f"{title}:", *definitions([(verb.name, verb.summary) for verb in verbs], width, column)]
        lines += ["", *wrap("`paictl VERB --help` explains a verb and its flags. Start with `paictl init`.", width)]
        formatter.write("\n".join(lines) + "\n")


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        Terminal().write(f"paictl {__version__}")
        ctx.exit(0)


_declare: Callable[[Callable[..., None]], Program] = click.group(cls=Program)


@_declare
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def program() -> None:
    """One file, applied to the hardware you have."""
