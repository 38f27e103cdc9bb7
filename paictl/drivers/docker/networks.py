"""The kind ``network``: who can reach whom. Older engines let several share a name, so each is known by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.kind import Act
from paictl.drivers.docker.naming import NAME, owner_of
from paictl.errors import Refused

__all__ = ["Networks", "live"]

_INHIBIT, _MASQUERADE = "com.docker.network.bridge.inhibit_ipv4", "com.docker.network.bridge.enable_ip_masquerade"
# What the file sets. An engine's `default-network-opts` add others to every network, such as an MTU: those are its owner's.
_OPTIONS = frozenset({_INHIBIT, _MASQUERADE})


class Networks:
    """A bridge of the agent's own."""

    def make(self, act: Act) -> None:
        api, name = act.connection.api, act.engine_name
        standing = _named(act.connection, name)
        mine = [one for one in standing if _is_mine(act, one)]
        if standing and not mine:
            raise _not_ours(standing[0])
        for stranger in _strangers(act):
            api.disconnect_container_from_network(stranger, mine[0]["Id"], force=True)
        if len(mine) == 1 and fits(mine[0], act.spec):
            return
        # Whoever is on it comes back on the new one under the same name.
        members = {member for one in mine for member in _members(act.connection, one["Id"])}
        for one in mine:
            _remove(act.connection, one["Id"])
        made = _create(act)
        # The check is no lock: whoever made one at the same moment has got it, too.
        others = [one for one in _named(act.connection, name) if one["Id"] != made]
        if others:
            api.remove_network(made)
            raise _not_ours(others[0])
        for member in sorted(members):
            _join(act.connection, member, made)

    def remove(self, act: Act) -> None:
        standing = [one for one in _named(act.connection, act.engine_name) if _is_mine(act, one)]
        handle = act.step.observed.handle if act.step.observed else ""
        going = [one["Id"] for one in standing if handle in {"", one["Id"]}]
        staying = [one["Id"] for one in standing if one["Id"] not in going]
        for one in going:
            members = _members(act.connection, one)
            _remove(act.connection, one)
            for member in members if staying else ():
                _join(act.connection, member, staying[0])


def live(told: Mapping[str, Any]) -> dict[str, object]:
    """Of a network as the engine tells it, what decides who reaches whom; ``ipv6`` only where somebody has enabled it."""
    options = {key: value for key, value in (told.get("Options") or {}).items() if key in _OPTIONS}
    spec: dict[str, object] = {"internal": bool(told["Internal"]), "options": options}
    return spec | ({"ipv6": True} if told.get("EnableIPv6") else {})


def fits(told: Mapping[str, Any], spec: Mapping[str, object]) -> bool:
    """Whether a network is as the spec wants it."""
    return live(told) == {"internal": bool(spec["internal"]), "options": _options(spec)}


def _create(act: Act) -> str:
    """Not by the SDK, which leaves "no IPv6" out: an engine whose default is IPv6 would give the room an address of the machine."""
    body = {
        "Name": act.engine_name,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": bool(act.spec["internal"]),
        "EnableIPv6": False,
        "Options": dict(_options(act.spec)),
        "Labels": dict(act.labels()),
    }
    return str(act.connection.post("/networks/create", body)["Id"])


def _is_mine(act: Act, told: Mapping[str, Any]) -> bool:
    """Ours by its label or, since none can be added to what stands, by having been adopted."""
    observed = act.step.observed
    adopted = observed is not None and observed.owner == "mine" and observed.handle == told["Id"]
    return adopted or owner_of(act.scope, told.get("Labels")) == "mine"


def _not_ours(told: Mapping[str, Any]) -> Refused:
    return Refused(
        f"there is a network {told['Name']} ({told['Id'][:12]}) that is not paictl's",
        help=f"Look at `docker network inspect {told['Id'][:12]}`; remove it if nobody needs it, or `paictl adopt` it.",
    )


def _options(spec: Mapping[str, object]) -> Mapping[str, str]:
    options = spec["options"]
    return {str(key): str(value) for key, value in options.items()} if isinstance(options, Mapping) else {}


def _strangers(act: Act) -> list[str]:
    """Containers of others that somebody connected by hand, as the plan has seen them."""
    observed = act.step.observed
    found = observed.spec.get("strangers") if observed and act.step.action == "update" else None
    return [str(one) for one in found] if isinstance(found, list) else []


def _named(connection: Connection, name: str) -> list[dict[str, Any]]:
    # The filter takes part of a name for the name.
    return [one for one in connection.api.networks(names=[name]) if one["Name"] == name]


def _members(connection: Connection, network: str) -> list[str]:
    filters = {"network": [network]}
    return [str(one["Id"]) for one in connection.api.containers(all=True, filters=filters)]


def _join(connection: Connection, container: str, network: str) -> None:
    """Put it there, found by the name of its service if it is one."""
    alias = (connection.api.inspect_container(container)["Config"].get("Labels") or {}).get(NAME)
    connection.api.connect_container_to_network(container, network, aliases=[alias] if alias else None)


def _remove(connection: Connection, network: str) -> None:
    # The network's own list has, too, what a container that crashed in the wrong moment left of itself when it was removed.
    left: Mapping[str, Any] = connection.api.inspect_network(network)["Containers"] or {}
    for member in {*_members(connection, network), *left}:
        connection.api.disconnect_container_from_network(member, network, force=True)
    connection.api.remove_network(network)
