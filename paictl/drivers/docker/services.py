"""The kind ``service``: one container, with the volume that its configuration lies in. It is never changed, always made anew."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from paictl.drivers.docker import limits
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.containers import Spec, config_volume, to_engine
from paictl.drivers.docker.health import container_health
from paictl.drivers.docker.kind import Act
from paictl.drivers.docker.naming import (
    AGENT,
    FINGERPRINT,
    INSTANCE,
    KIND,
    NAME,
    TARGET,
    UPLOAD,
    container_name,
    engine_name,
    labels,
    short_name,
)
from paictl.drivers.docker.uploads import give, put_text, stamp
from paictl.drivers.docker.vaults import is_vault
from paictl.engine.driver import Scope

__all__ = ["CONFIG_KIND", "Services", "containers_of", "stand_up", "sweep"]

CONFIG_KIND = "config"
"""The kind, by its label, of the volumes that hold configurations: they come and go with their service."""

_ANNOUNCING = threading.Lock()
"""Where two go at once, one of them announces who stays."""

_REMOVAL_SECONDS = 60
_RUNS = frozenset({"running", "restarting"})


class Services:
    """A program in its container. What runs as it should is left alone."""

    def make(self, act: Act) -> None:
        standing = _standing(act)
        mine = [one for one in standing if one["Labels"].get(INSTANCE, "") == act.step.instance]
        if len(mine) == 1 and _fits(act, mine[0]) and _runs(act.connection, mine[0]):
            return
        for one in mine:
            _end(act.connection, one)
        others = [one for one in standing if one not in mine]
        number = next(one for one in range(1, len(others) + 2) if not _taken(act, others, one))
        # While another serves, nobody is to find this one: it is given the service's name when the other goes.
        aliases = [] if any(one["State"] in _RUNS for one in others) else [act.text("alias")]
        stand_up(act, number, aliases)

    def remove(self, act: Act) -> None:
        handle = act.step.observed.handle if act.step.observed else ""
        standing = _standing(act)
        going = [one for one in standing if handle in {"", one["Id"]}]
        with _ANNOUNCING:
            for one in standing:
                if one not in going and one["State"] == "running":
                    _announce(act, one["Id"])
        for one in going:
            _end(act.connection, one)
        sweep(act)


def stand_up(act: Act, number: int, aliases: Sequence[str]) -> str:
    """Make the step's container, with all that it finds when it starts, and start it; its id."""
    api = act.connection.api
    _configure(act)
    spec: Spec = dict(act.spec)
    body, name = to_engine(spec, act.labels(number), aliases), container_name(act.scope.agent, act.name, number)
    answer = api.create_container_from_config(body, name)  # type: ignore[no-untyped-call] # so its types leave it
    limits.tell(act, answer)
    made = str(answer["Id"])
    for network in spec["networks"][1:]:
        api.connect_container_to_network(made, engine_name(act.scope.agent, network), aliases=list(aliases))
    _give_volumes(act, made)
    api.start(made)
    sweep(act, keep=_config_of(act))
    return made


def _configure(act: Act) -> None:
    """Put its configuration where it will find it: an engine elsewhere can't mount a file of this machine."""
    volume = _config_of(act)
    if not volume:
        return
    files: Mapping[str, str] = act.spec["config"]  # type: ignore[assignment] # the spec is JSON data
    marks = labels(act.scope, CONFIG_KIND, act.name)
    act.connection.api.create_volume(volume, driver="local", labels=marks)
    content = {PurePosixPath(path).name: text for path, text in files.items()}
    time = stamp(act.text("config_digest"))
    put_text(act.connection, volume, act.text("image"), content, labels(act.scope, UPLOAD, act.name), time)


def containers_of(connection: Connection, scope: Scope, name: str, kind: str = "service") -> list[dict[str, Any]]:
    """The containers of one service or job, oldest first."""
    wanted = {AGENT: scope.agent, TARGET: scope.target, KIND: kind, NAME: name}
    filters = json.dumps({"label": [f"{key}={value}" for key, value in wanted.items()]})
    return sorted(connection.ask("/containers/json", all=1, filters=filters), key=lambda one: one["Created"])


def _standing(act: Act) -> list[dict[str, Any]]:
    """The service's containers, oldest first; the one that the step is about, too, when it has no label: it was adopted."""
    found = containers_of(act.connection, act.scope, act.name)
    handle = act.step.observed.handle if act.step.observed else ""
    if handle and all(one["Id"] != handle for one in found):
        found = act.connection.api.containers(all=True, filters={"id": [handle]}) + found
    return found


def _announce(act: Act, container: str) -> None:
    """Have a healthy one found under the service's name, if it is not yet: so that there is always one that is."""
    api = act.connection.api
    told = api.inspect_container(container)
    joined = told["NetworkSettings"]["Networks"]
    nameless = [
        network
        for network, place in joined.items()
        if short_name(act.scope.agent, network) and act.name not in (place.get("Aliases") or ())
    ]
    if nameless and container_health(act.connection, told).state == "healthy":
        for network in nameless:
            # Names are given on joining only.
            api.disconnect_container_from_network(container, network)
            api.connect_container_to_network(container, network, aliases=[act.name])


def _give_volumes(act: Act, made: str) -> None:
    """New volumes belong to root where the image lacks the directory; who writes there is the container's user."""
    mounts: list[Spec] = act.spec["mounts"]  # type: ignore[assignment] # the spec is JSON data
    for mount in mounts:
        if not mount["read_only"] and not is_vault(mount["volume"]):
            volume = engine_name(act.scope.agent, mount["volume"])
            marks = labels(act.scope, UPLOAD, act.name)
            give(act.connection, volume, act.text("image"), (made, mount["target"]), act.text("user"), marks)


def _fits(act: Act, container: Mapping[str, Any]) -> bool:
    """Whether it was made from exactly this, and nobody changed it since."""
    return container["Labels"].get(FINGERPRINT) == act.step.fingerprint and not act.step.changes


def _runs(connection: Connection, container: Mapping[str, Any]) -> bool:
    """Have it run, when it is one that ran before; False for one that was never started: it may be half made."""
    match container["State"]:
        case "paused":
            connection.api.unpause(container["Id"])
        case "exited":
            connection.api.start(container["Id"])
        case state:
            return state in _RUNS
    return True


def _end(connection: Connection, container: Mapping[str, Any]) -> None:
    """Have it gone; somebody may have the engine remove it at the same moment."""
    from docker.errors import NotFound

    with suppress(NotFound):
        if container["State"] == "paused":
            # It could not hear that it is to end.
            connection.api.unpause(container["Id"])
        if container["State"] in _RUNS | {"paused"}:
            # Without a number: the grace that the container itself was made with.
            connection.api.stop(container["Id"])
        _removed(connection, container["Id"])


def _removed(connection: Connection, container: str) -> None:
    from docker.errors import APIError

    try:
        # With the volumes that an image of others asks for by itself; those that have a name stay.
        connection.api.remove_container(container, force=True, v=True)
    except APIError as error:
        if error.status_code != 409:
            raise
        # The engine removes it already: its name is free once it has.
        connection.api.wait(container, timeout=_REMOVAL_SECONDS, condition="removed")


def _taken(act: Act, others: list[dict[str, Any]], number: int) -> bool:
    name = "/" + container_name(act.scope.agent, act.name, number)
    return any(name in one["Names"] for one in others)


def _config_of(act: Act) -> str:
    config = act.spec.get("config")
    return engine_name(act.scope.agent, config_volume(act.name, config)) if isinstance(config, Mapping) else ""


def sweep(act: Act, keep: str = "") -> None:
    """Remove the configurations of this service that no container has any more."""
    wanted = labels(act.scope, CONFIG_KIND, act.name)
    filters = {"label": [f"{key}={value}" for key, value in wanted.items()], "dangling": ["true"]}
    for volume in act.connection.api.volumes(filters=filters)["Volumes"] or ():
        if volume["Name"] != keep:
            act.connection.api.remove_volume(volume["Name"])
