"""The flags that every verb has, declared once, and how a verb is made from a function. Nothing here reads a manifest."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from paictl.cli.console.deadline import deadline
from paictl.cli.console.help import VerbCommand
from paictl.cli.console.terminal import Terminal

__all__ = ["Call", "Flags", "Seconds", "delete_data", "option", "take_over", "trust_host_keys", "verb_command"]

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Flags:
    """What the common flags said. ``timeout`` and ``lock_timeout`` in seconds, None for what the engine thinks right."""

    files: tuple[str, ...] = ()
    target: str | None = None
    driver: str | None = None
    yes: bool = False
    locked: bool = False
    offline: bool = False
    timeout: float | None = None
    lock_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a verb: its common flags and where it writes."""

    flags: Flags
    terminal: Terminal


class Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic since click 8.4 only
    """A duration: ``90``, ``90s``, ``10m``, ``2h``; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, or click's own complaint naming the flag."""
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)?", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration such as 90s or 10m.", param, ctx)
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[match[2]]


def option(*names: str, **settings: Any) -> _Decorator:
    """A flag that an environment variable sets too: ``--lock-timeout`` is ``PAICTL_LOCK_TIMEOUT``."""
    long = next(name for name in names if name.startswith("--")).partition("/")[0]
    variable = "PAICTL_" + long.removeprefix("--").upper().replace("-", "_")
    return click.option(*names, envvar=variable, **settings)


def delete_data(meaning: str) -> _Decorator:
    """``--delete-data``, as often as needed; the verb gets a set of addresses. ``meaning`` is its line in the help."""

    def as_set(_ctx: click.Context, _param: click.Parameter, value: Sequence[str]) -> frozenset[str]:
        return frozenset(value)

    return option("--delete-data", multiple=True, callback=as_set, metavar="ADDRESS", help=meaning)


def take_over(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--take-over``: this manifest takes the place of the one that the agent was applied from."""
    means = "Go on although the agent was applied from another manifest."
    return option("--take-over", is_flag=True, help=means)(function)


def trust_host_keys(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--trust-host-keys``: of verbs that may meet a host for the first time. ``--yes`` alone is no word about keys."""
    means = "Pin the key that a host shows at the first contact, unasked."
    return option("--trust-host-keys", is_flag=True, help=means)(function)


_FILE = click.Path(allow_dash=True)
_FORM = click.Choice(["text", "json", "yaml"])
# In the order of the help. No flag takes a secret's value: secrets are named in the manifest and read from their places.
_COMMON: Mapping[str, _Decorator] = {
    "files": option("-f", "--file", "files", multiple=True, type=_FILE, metavar="FILE", help="A manifest; more merge over it; - is stdin."),
    "target": option("-t", "--target", metavar="NAME", help="One of the manifest's targets."),
    "driver": option("--driver", metavar="NAME", help="Another driver than the target's; fake changes nothing real."),
    "output": option("-o", "--output", type=_FORM, default="text", metavar="FORM", help="text, json or yaml."),
    "yes": option("-y", "--yes", is_flag=True, help="Consent without being asked."),
    "locked": option("--locked", is_flag=True, help="Resolve nothing: agent.lock as it is."),
    "offline": option("--offline", is_flag=True, help="No network: what is cached, or an error."),
    "state_dir": option("--state-dir", metavar="DIR", help="Where paictl keeps its records."),
    "timeout": option("--timeout", type=Seconds(), metavar="TIME", help="Give up after this long: 90s, 10m."),
    "lock_timeout": option("--lock-timeout", type=Seconds(), metavar="TIME", help="Wait this long for another paictl."),
    "no_color": option("--no-color", is_flag=True, help="No colours; NO_COLOR says the same."),
    "verbose": option("-v", "--verbose", is_flag=True, help="Say more."),
    "quiet": option("-q", "--quiet", is_flag=True, help="Nothing but results and errors."),
}  # fmt: skip


def verb_command(
    name: str, *, takes_file: bool = True, own_short: str = ""
) -> Callable[[Callable[..., int | None]], VerbCommand]:
    """Make a verb of a function ``(call, **own flags) -> exit code or None``; its docstring is the help.

    ``takes_file``: the manifest may stand as the positional FILE; verbs with words of their own take -f only.
    ``own_short`` is a short name of a common flag that means something of the verb's own, as people know it from other
    tools (``logs -f``, ``render -o``); the common flag keeps its long name there.
    """

    def make(function: Callable[..., int | None]) -> VerbCommand:
        def callback(**given: Any) -> int:
            common = {key: given.pop(key) for key in _COMMON}
            files = _files(given.pop("file", None), common["files"])
            call = _call(common, files)
            with deadline(call.flags.timeout):
                return function(call, **given) or 0

        callback.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
        decorated: Callable[..., Any] = callback
        for decorate in reversed(list(_COMMON.values())):
            decorated = decorate(decorated)
        if takes_file:
            decorated = click.argument("file", required=False, type=_FILE)(decorated)
        command = click.command(name, cls=VerbCommand, help=function.__doc__)(decorated)
        command.common = frozenset((*_COMMON, "help"))
        for param in command.params:
            if param.name in _COMMON and own_short in param.opts:
                param.opts.remove(own_short)
        # Own flags first, then the common ones, as declared.
        own = [param for param in command.params if param.name not in _COMMON]
        command.params = own + [param for key in _COMMON for param in command.params if param.name == key]
        return command

    return make


def _files(positional: str | None, repeated: Sequence[str]) -> tuple[str, ...]:
    source = click.get_current_context().get_parameter_source("files")
    if positional is not None and source is not ParameterSource.COMMANDLINE:
        return (positional,)
    return (positional, *repeated) if positional is not None else tuple(repeated)


def _call(common: Mapping[str, Any], files: tuple[str, ...]) -> Call:
    if common["state_dir"]:
        # ``places`` and every child of ours read it there: one place to look, whoever asks.
        os.environ["PAICTL_STATE_DIR"] = os.path.abspath(common["state_dir"])  # noqa: PTH100 - pathlib costs start-up here
    flags = Flags(
        files, *(common[key] for key in ("target", "driver", "yes", "locked", "offline", "timeout", "lock_timeout"))
    )
    terminal = Terminal(
        output=common["output"],
        color=not common["no_color"] and not os.environ.get("NO_COLOR"),
        verbosity=-1 if common["quiet"] else int(common["verbose"]),
    )
    warnings.showwarning = partial(_tell, terminal)
    return Call(flags, terminal)


def _tell(terminal: Terminal, message: Warning | str, category: type[Warning], *_place: object) -> None:
    """What libraries of ours warn of is for the person; what others warn of is for the tests, where it is an error."""
    if category.__module__.startswith("paictl."):
        terminal.note(f"warning: {message}")
