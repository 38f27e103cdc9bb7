"""What the engine itself says of one agent: one list a kind, and one look a container of ours. Reads only; called by ``view``."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from paictl.drivers.docker import ledger
from paictl.drivers.docker.asking import Declined
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import AGENT, KIND, owner_of, short_name
from paictl.drivers.docker.registries import patiently
from paictl.engine.driver import Scope

__all__ = ["Adopted", "Json", "Standing", "names_of", "read"]

Json = Mapping[str, Any]
Adopted = Mapping[str, str]
"""What was adopted: short address -> the engine's own id or name of it. Labels can't be added to what exists."""

_AT_ONCE = 4


@dataclass(frozen=True)
class Standing:
    """All in the engine's own JSON. ``images`` and ``containers`` are this agent's, the latter looked into; the rest is everybody's."""

    images: tuple[Json, ...]
    networks: tuple[Json, ...]
    volumes: tuple[Json, ...]
    listed: tuple[Json, ...]
    containers: tuple[Json, ...]
    adopted: Adopted


def names_of(image: Json, agent: str) -> list[str]:
    """The names that it has for this agent."""
    return [tag for tag in image["RepoTags"] or () if tag.startswith((f"paictl/{agent}:", f"paictl/{agent}/"))]


def read(connection: Connection, scope: Scope) -> Standing:
    """Read everything. Raises what the connection raises when a part can't be read."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # All images: a filter by name would leave out what else an image is called.
        images = pool.submit(patiently, lambda: connection.ask("/images/json"))
        kinds = ("/containers/json?all=1", "/networks", "/volumes")
        listed, networks, told = pool.map(connection.ask, kinds)
    volumes = told["Volumes"] or []
    # Only where something without our labels has a name of ours is there any reason to look what was adopted.
    strange = any(
        short_name(scope.agent, one["Name"]) and AGENT not in (one.get("Labels") or {}) for one in (*networks, *volumes)
    )
    strange = strange or any(_named(scope, one) and AGENT not in (one.get("Labels") or {}) for one in listed)
    adopted = ledger.adopted(connection, scope) if strange else {}
    mine = [one["Id"] for one in listed if _is_service(scope, one) or one["Id"] in adopted.values()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        inspected = [one for one in pool.map(lambda each: _inspect(connection, each), mine) if one]
    return Standing(
        images=tuple(one for one in images.result() if names_of(one, scope.agent)),
        networks=tuple(networks),
        volumes=tuple(volumes),
        listed=tuple(listed),
        containers=tuple(inspected),
        adopted=adopted,
    )


def _inspect(connection: Connection, container: str) -> dict[str, Any] | None:
    """None for one that is gone since it was listed."""
    try:
        return dict(connection.ask(f"/containers/{container}/json"))
    except Declined as no:
        if no.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        return None


def _is_service(scope: Scope, container: Json) -> bool:
    marks = container.get("Labels") or {}
    return owner_of(scope, marks) == "mine" and marks.get(KIND) == "service"


def _named(scope: Scope, container: Json) -> bool:
    return any(name.startswith(f"/{scope.agent}-") for name in container["Names"])
