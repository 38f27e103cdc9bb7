"""Removes packages that paictl installed and nobody else needs; every removal is rehearsed first. Called by ``restoring``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import found, services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["remove"]

_APT = ("apt-get", "--yes", "-o", "DPkg::Lock::Timeout=120", "-o", "APT::Get::AutomaticRemove=false")
_SECONDS = 600


def remove(names: Sequence[str], do: Callable[..., str]) -> None:
    """Purge those of them that are installed, with what came along only for them."""
    # Asked while they are known: what no mirror has is forgotten with its end.
    came = _needs_of(names) if names else set()
    standing = [name for name, state in services.packages(names).items() if state is not None]
    going: set[str] = set()
    # Those that need each other go together; one that something else needs by now stays.
    if _taken_along(standing) <= set(standing):
        going = set(standing)
    else:
        for name in standing:
            if _taken_along([name]) <= {*standing}:
                going |= _taken_along([name])
    if going:
        do([*_APT, "purge", "--", *sorted(going)], seconds=_SECONDS)
    before = found.installed_before()
    if names and before is not None:
        orphans = sorted(_orphans() & came - before)
        if orphans and _taken_along(orphans) <= set(orphans):
            do([*_APT, "purge", "--", *orphans], seconds=_SECONDS)


def _taken_along(names: Iterable[str]) -> set[str]:
    """Everything that would go; something that is in no list when apt refuses, as it does for what is essential."""
    asked = list(names)
    if not asked:
        return set()
    code, text = services.tell([*_APT, "--simulate", "purge", "--", *asked])
    return _removed(text) if code == 0 else {""}


def _orphans() -> set[str]:
    """What was installed for something else that is gone; that another package suggests it is no need."""
    code, text = services.tell([*_APT, "-oAPT::AutoRemove::SuggestsImportant=false", "--simulate", "autoremove"])
    return _removed(text) if code == 0 else set()


def _needs_of(names: Sequence[str]) -> set[str]:
    """Everything that came along for them at most, whatever it is needed for by now."""
    weak = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    told = [f"--no-{one}" for one in weak]
    _, text = services.tell(["apt-cache", *told, "--recurse", "depends", "--", *names])
    return {line.partition(":")[0] for line in text.splitlines() if line[:1].strip() and not line.startswith("<")}


def _removed(text: str) -> set[str]:
    lines = (line.split() for line in text.splitlines())
    return {line[1].partition(":")[0] for line in lines if len(line) > 1 and line[0] in ("Purg", "Remv")}
