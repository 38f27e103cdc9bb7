"""How units, packages and firewall tables of a host are now, as systemd, dpkg and nft tell it. Used by ``items``; changes nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["difference", "packages", "show", "tables", "tell", "units"]

_SHOWN = ("Id", "LoadState", "UnitFileState", "ActiveState", "Type", "RemainAfterExit")
_ACTIVE = frozenset({"active", "reloading", "activating", "refreshing"})
_SECONDS = 60


def tell(argv: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of a program that looks; (127, "") where the host has no such program."""
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return 127, ""
    return done.returncode, done.stdout


def show(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What systemd knows of each of these units, in one question."""
    if not names:
        return {}
    _, text = tell(["systemctl", "show", f"--property={','.join(_SHOWN)}", "--", *names])
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return dict(zip(names, blocks)) if len(blocks) == len(names) else {}  # noqa: B905 - Python 3.9 has no strict=


def units(names: Iterable[str]) -> dict[str, Any]:
    """Whether each is enabled and runs; what runs once and ends is never said to run."""
    asked = list(names)
    shown = show(asked)
    return {name: _unit(shown.get(name, {})) for name in asked}


def _unit(told: dict[str, str]) -> Any:
    if told.get("LoadState", "not-found") == "not-found":
        return None
    once = told.get("Type") == "oneshot" and told.get("RemainAfterExit") != "yes"
    active = None if once else told.get("ActiveState") in _ACTIVE
    return {"enabled": told.get("UnitFileState", ""), "active": active}


def difference(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was of one unit, in words."""
    told = []
    if before.get("enabled") != now.get("enabled"):
        told.append("not enabled" if str(before.get("enabled")).startswith("enabled") else str(now.get("enabled")))
    was, is_ = before.get("active"), now.get("active")
    if None not in (was, is_) and was != is_:
        told.append("not active" if was else "active")
    return told


def packages(names: Iterable[str]) -> dict[str, Any]:
    """Which are installed; never in which version, which upgrades by themselves may change."""
    asked = list(names)
    _, text = tell(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", "--", *asked])
    installed = {line.partition(" ")[0] for line in text.splitlines() if line.endswith(" installed")}
    return {name: {} if name in installed else None for name in asked}


def tables(names: Iterable[str]) -> dict[str, Any]:
    """The firewall's tables without what counts or changes by itself; the text is there to put one back."""
    return {name: _table(name) for name in names}


def _table(name: str) -> Any:
    code, text = tell(["nft", "--json", "--stateless", "list", "table", *name.split()])
    if code != 0:
        return None
    rules = [_lasting(one) for one in json.loads(text)["nftables"] if "metainfo" not in one]
    return {"sha256": hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()}


def _lasting(value: Any) -> Any:
    """Without handles and counts, and without the elements that packets add to a set."""
    if isinstance(value, list):
        return [_lasting(one) for one in value]
    if not isinstance(value, dict):
        return value
    fleeting = {"handle", "packets", "bytes"}
    if {"dynamic", "timeout"}.intersection(value.get("flags") or ()):
        fleeting.add("elem")
    return {key: _lasting(one) for key, one in value.items() if key not in fleeting}
