"""What a target's hosts have, and how their system is set up beside the agent, as types. ``sections.py`` puts them together."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from paictl.manifest.strict import Strict

__all__ = ["Journal", "Machine", "System", "parse_size"]

_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}

Size = Annotated[str, Field(pattern=r"^[1-9][0-9]*(MiB|GiB)$", examples=["8GiB"])]
# As systemd and /etc/passwd take them.
User = Annotated[str, Field(title="a user's name", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", examples=["alice"])]
PublicKey = Annotated[
    str,
    Field(
        title="a public key of ssh",
        pattern=r"^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?$",
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGL3R0TqKq1rJxJ9cSkHGoJmVqU7ZV0h2s4xLrEo2b1P alice@laptop"],
    ),
]
Locale = Annotated[
    str,
    Field(
        title="a locale of UTF-8", pattern=r"^(C|[a-z]{2,3}(_[A-Z]{2})?)\.UTF-8(@[a-z]+)?$", examples=["de_DE.UTF-8"]
    ),
]
Zone = Annotated[
    str, Field(title="a time zone", pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{1,63}$", examples=["Europe/Berlin"])
]
Package = Annotated[str, Field(title="a package of Debian", pattern=r"^[a-z0-9][a-z0-9+.-]+$", examples=["htop"])]


class Machine(Strict):
    """What a host has, for the choice of models: it is made here, before anything is asked of the host."""

    memory: Size = Field(description="Its memory.", examples=["4GiB"])
    cores: int = Field(ge=1, le=1024, description="Its processors.")
    arch: Literal["amd64", "arm64"] | None = Field(default=None, description="What its processors are.")
    board: str | None = Field(
        default=None,
        description="What it calls itself; a Raspberry Pi reads its memory more slowly than others.",
        examples=["Raspberry Pi 5"],
    )


class Journal(Strict):
    """The log of a host's system."""

    size: Size = Field(default="200MiB", description="How much of it is kept.")
    keep: Literal["disk", "memory"] = Field(
        default="disk",
        description="memory: an SD card is spared, and what was logged is lost with the power.",
    )


class System(Strict):
    """How the hosts are set up beside the agent. What is not said here stays as it was found."""

    timezone: Zone | None = Field(default=None, description="The time zone.")
    locale: Locale | None = Field(default=None, description="The language.")
    packages: list[Package] = Field(
        default_factory=list, description="Debian packages beside those that the agent needs.", examples=[["htop"]]
    )
    security_updates: bool = Field(
        default=True, description="Security updates are installed by themselves. Nothing reboots by itself."
    )
    admins: dict[User, list[PublicKey]] = Field(
        default_factory=dict,
        description="Who may log in by these keys and become root, beside the user that paictl logs in as.",
        examples=[
            {"alice": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGL3R0TqKq1rJxJ9cSkHGoJmVqU7ZV0h2s4xLrEo2b1P alice@laptop"]}
        ],
    )
    journal: Journal = Field(default_factory=Journal.model_construct, description="The system's log.")
    zram: int = Field(
        default=0,
        ge=0,
        le=200,
        description="Percent of memory that may be swapped into compressed memory. The agent's own services never swap.",
    )
    swappiness: int | None = Field(
        default=None, ge=0, le=200, description="How readily the kernel swaps: high with zram, low with a disk."
    )


def parse_size(text: str) -> int:
    """``4GiB`` -> 4_294_967_296 bytes."""
    match = re.fullmatch(r"([0-9]+)(MiB|GiB)", text)
    if match is None:
        message = f"not a size: {text!r}"
        raise ValueError(message)
    return int(match[1]) * _UNITS[match[2]]
