"""Whether models fit a machine together, and which ones to choose where the manifest leaves it open; pure.

Called by ``fit.resolve`` and the ``fit`` verb. The same hardware, wishes and catalogue always give the same choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paictl.errors import Refused
from paictl.fit.catalogue import Entry, Task
from paictl.fit.hardware import Hardware, default_threads
from paictl.manifest.models import Select
from paictl.manifest.quantities import parse_count
from paictl.sizes import byte_count

__all__ = ["Choice", "Fit", "NoFit", "Wish", "budget", "choose", "fits"]

_MIB = 1024**2
_AGENT = 250 * _MIB  # gateway and agent together, idle: the bar of the project's own benchmark
# Bytes a second that generating reads weights with. Measured: 11-17 GB/s on two x86-64 cores; a Pi 5 reads about 8.
_BYTES_PER_SECOND_PER_CORE, _FASTEST_RAM, _PI_RAM = 7e9, 4e10, 8e9
# Tokens a second that a model should reach, by what the person prefers. Reading speed is 4 to 5.
_SPEED = {"fast": 20.0, "balanced": 8.0, "best-fit": 3.0}


class NoFit(Refused):
    """The models need more memory than the machine has for them; the help names what would fit."""

    code = "does-not-fit"


@dataclass(frozen=True, slots=True)
class Wish:
    """One model that the manifest leaves open."""

    task: Task
    select: Select


@dataclass(frozen=True, slots=True)
class Fit:
    """Bytes that models need together and that the machine has for them."""

    needed: int
    budget: int

    @property
    def ok(self) -> bool:
        """Whether they fit."""
        return self.needed <= self.budget


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for each wish, and what everything needs together."""

    entries: Mapping[str, Entry]
    fit: Fit
    threads: int


def budget(hardware: Hardware) -> int:
    """Bytes that models may take: the memory there is, less a reserve for the system and the agent's own programs.

    Of the memory there is, not of what is free at this moment: a choice must not depend on which browser is open.
    """
    reserve = max(512 * _MIB, min(hardware.ram // 8, 4096 * _MIB))
    return max(0, hardware.ram - reserve - _AGENT)


def fits(needed: int, hardware: Hardware) -> Fit:
    """Whether models that need so many bytes together fit the machine."""
    return Fit(needed, budget(hardware))


def speed(entry: Entry, hardware: Hardware) -> float:
    """About how many tokens a second a model will generate: memory is what limits it."""
    ram = _PI_RAM if hardware.is_pi else min(_FASTEST_RAM, _BYTES_PER_SECOND_PER_CORE * default_threads(hardware.cores))
    return ram / entry.read_per_token


def choose(wishes: Mapping[str, Wish], hardware: Hardware, catalogue: Sequence[Entry], taken: int = 0) -> Choice:
    """Choose for the whole machine together; ``taken`` bytes are for models the manifest names itself.

    Everyone gets the smallest model first; then each, chat before embedding before speech, the best that the rest leaves room for.
    Raises ``NoFit`` where even the smallest don't fit.
    """
    options = {name: _options(name, wish, catalogue) for name, wish in wishes.items()}
    chosen = {name: min(entries, key=lambda entry: entry.size) for name, entries in options.items()}
    needs = {name: _need(entry, wishes[name]) for name, entry in chosen.items()}
    order = sorted(wishes, key=lambda name: ("chat", "embed", "transcribe").index(wishes[name].task))
    for name in order:
        left = budget(hardware) - taken - sum(bytes_ for other, bytes_ in needs.items() if other != name)
        fitting = [entry for entry in options[name] if _need(entry, wishes[name]) <= left]
        if fitting:
            chosen[name] = _best(fitting, wishes[name], hardware)
            needs[name] = _need(chosen[name], wishes[name])
    fit = fits(taken + sum(needs.values()), hardware)
    if not fit.ok:
        smallest = ", ".join(f"{name} at least {byte_count(needs[name])}" for name in order)
        raise NoFit(
            f"no models fit {hardware.name}: it has {byte_count(fit.budget)} for models, and {byte_count(fit.needed)} are needed "
            f"({smallest})",
            help="ask for less context, leave a model out, or name an API provider or a server elsewhere",
        )
    return Choice(chosen, fit, default_threads(hardware.cores))


def _options(name: str, wish: Wish, catalogue: Sequence[Entry]) -> list[Entry]:
    context = parse_count(wish.select.context)
    found = [
        entry for entry in catalogue if entry.task == wish.task and (wish.task != "chat" or entry.context >= context)
    ]
    if not found:
        longest = max((entry.context for entry in catalogue if entry.task == wish.task), default=0)
        raise NoFit(
            f"models.{name}: no model of the catalogue has a context of {context} tokens",
            help=f"ask for {longest} or less, or name a `source:`",
        )
    return found


def _need(entry: Entry, wish: Wish) -> int:
    return entry.need(parse_count(wish.select.context)).total


def _best(fitting: list[Entry], wish: Wish, hardware: Hardware) -> Entry:
    """The best one that is fast enough, or, where none is, the fastest. Embedding and speech are always fast enough."""
    wanted = _SPEED[wish.select.quality]
    quick = (
        fitting
        if wish.task != "chat" and wish.select.quality == "best-fit"
        else [e for e in fitting if speed(e, hardware) >= wanted]
    )
    if quick:
        return max(quick, key=lambda entry: (entry.quality, entry.name))
    return max(fitting, key=lambda entry: (speed(entry, hardware), entry.name))
