"""Where paictl keeps things on this machine, by the XDG base directory specification. Nothing is created here."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_home", "config_home", "data_home", "runtime_home", "shared_memory", "state_home"]


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    # The specification: a relative path is invalid and to be ignored.
    base = Path(value) if value.startswith("/") else Path.home() / default
    return base / "paictl"


def config_home() -> Path:
    """``~/.config/paictl``."""
    return _xdg("XDG_CONFIG_HOME", ".config")


def state_home() -> Path:
    """``~/.local/state/paictl``; one folder an agent below it. ``PAICTL_STATE_DIR`` and ``--state-dir`` come first."""
    return (
        Path(os.environ["PAICTL_STATE_DIR"])
        if os.environ.get("PAICTL_STATE_DIR")
        else _xdg("XDG_STATE_HOME", ".local/state")
    )


def cache_home() -> Path:
    """``~/.cache/paictl``: whatever can be fetched again (model files, wheels)."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def data_home() -> Path:
    """``~/.local/share/paictl``: what an agent knows and is; one folder an agent below it."""
    return _xdg("XDG_DATA_HOME", ".local/share")


def runtime_home() -> Path:
    """A directory of this user's on tmpfs, for secrets: ``$XDG_RUNTIME_DIR/paictl``, else ``shared_memory``."""
    value = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(value) / "paictl" if value.startswith("/") else shared_memory()


def shared_memory() -> Path:
    """A directory of this user's below ``/dev/shm``, which logging out does not empty. Whoever makes it makes it 0700."""
    return Path(f"/dev/shm/paictl-{os.getuid()}")  # noqa: S108 - everybody may write there, so its owner is checked
