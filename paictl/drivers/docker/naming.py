"""The names and labels by which everything of one agent is known on an engine. Pure; used by every module of the driver."""

from __future__ import annotations

from collections.abc import Mapping

from paictl.engine.driver import Scope
from paictl.engine.model import Address, Owner

__all__ = [
    "AGENT",
    "CONFIG",
    "CONFIG_FILES",
    "DRIVER",
    "FINGERPRINT",
    "HOLDS_DATA",
    "INSTANCE",
    "KEEPER",
    "KIND",
    "NAME",
    "NEEDS",
    "STARTED_WITH",
    "TARGET",
    "UPLOAD",
    "compose_labels",
    "container_name",
    "engine_name",
    "image_repository",
    "labels",
    "needs_of",
    "owner_of",
    "short_name",
]

DRIVER = "docker"
KEEPER = "secrets"
"""The service that holds the secrets' tmpfs volumes mounted."""

UPLOAD = "upload"
"""The kind, by its label, of containers that are there only while a volume is filled through them."""

AGENT, TARGET, KIND, NAME = "paictl.agent", "paictl.target", "paictl.kind", "paictl.name"
FINGERPRINT, INSTANCE, NEEDS, HOLDS_DATA = "paictl.fingerprint", "paictl.instance", "paictl.needs", "paictl.holds-data"
CONFIG, CONFIG_FILES, STARTED_WITH = "paictl.config", "paictl.config-files", "paictl.started-with"

_PROJECT = "com.docker.compose.project"
# What `docker compose` itself writes there; some of its commands look at it.
_COMPOSE_VERSION = "2.26.1"


def labels(scope: Scope, kind: str, name: str) -> dict[str, str]:
    """What everything that the driver makes carries."""
    return {AGENT: scope.agent, TARGET: scope.target, KIND: kind, NAME: name}


def compose_labels(scope: Scope, kind: str, name: str, fingerprint: str, number: int = 1) -> dict[str, str]:
    """What makes `docker compose ls`, `ps` and `logs` see it (compose-go's api/labels.go)."""
    made = {_PROJECT: scope.agent, "com.docker.compose.version": _COMPOSE_VERSION}
    if kind in {"service", "job"}:
        made |= {
            "com.docker.compose.service": name,
            "com.docker.compose.container-number": str(number),
            "com.docker.compose.oneoff": str(kind == "job"),
            # Compose passes over containers without one, and makes those anew whose hash is not its own.
            "com.docker.compose.config-hash": fingerprint,
            "com.docker.compose.project.config_files": "compose.yaml",
            "com.docker.compose.project.working_dir": "/",
        }
    elif kind in {"network", "volume"}:
        made[f"com.docker.compose.{kind}"] = name
    return made


def engine_name(agent: str, name: str) -> str:
    """A network's or volume's name on the engine, as Compose makes it."""
    return f"{agent}_{name}"


def short_name(agent: str, name: str) -> str:
    """The other way round; empty for what is not of this agent's project."""
    return name.removeprefix(f"{agent}_") if name.startswith(f"{agent}_") else ""


def container_name(agent: str, service: str, number: int) -> str:
    """A container's name, as Compose makes it."""
    return f"{agent}-{service}-{number}"


def image_repository(agent: str, name: str) -> str:
    """Where the agent's own names for images are; ``runtime`` is what was built, the others are aliases."""
    return f"paictl/{agent}" if name == "runtime" else f"paictl/{agent}/{name}"


def owner_of(scope: Scope, found: Mapping[str, str] | None) -> Owner:
    """Whose it is by its labels."""
    marks = found or {}
    if AGENT not in marks:
        return "unlabelled"
    return "mine" if (marks[AGENT], marks.get(TARGET)) == (scope.agent, scope.target) else "foreign"


def needs_of(scope: Scope, found: Mapping[str, str] | None) -> tuple[Address, ...]:
    """What it was made after, by its label: so that a destroy without any state goes the reverse way."""
    named = (found or {}).get(NEEDS, "")
    split = (one.partition("/") for one in named.split())
    return tuple(Address(scope.target, DRIVER, kind, name) for kind, _, name in split)
