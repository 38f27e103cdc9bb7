"""The door's part of the blueprint: the one service with a listener for people, and with every permission in its configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from paictl.blueprint import clusters, stores, vpn
from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Service, Volume
from paictl.hosts import bracketed
from paictl.manifest.load import Manifest

__all__ = ["gateway"]

_INNER_PORT = 8701
_STATE_PORT = 8702
# Alone it goes at once; one of several first ends every answer that it began (``runtime.gateway.server``: a minute).
_STOPPED_SECONDS, _REPLACED_SECONDS = 10.0, 75.0
# Every replica signs as the same agent, so its keys are given to each; with files, the one gateway makes and keeps them.
_IDENTITY = ("identity-key", "identity-next-key")
_PORTS = {"https": 443, "postgresql": 5432, "postgres": 5432}


def gateway(manifest: Manifest, routes: Mapping[str, Mapping[str, object]], kept: Sequence[Service] = ()) -> Service:
    """The gateway's service; ``routes`` are the models it leads to, ``kept`` the servers of ours that keep something for it."""
    spec = manifest.agent.spec
    endpoints = {name: str(route["endpoint"]) for name, route in routes.items()}
    ours = tuple(f"model-{name}/http" for name, endpoint in endpoints.items() if endpoint.startswith("endpoint://"))
    outside = {_place(endpoint) for endpoint in endpoints.values() if not endpoint.startswith("endpoint://")}
    state = stores.state_route(manifest)
    keeping = [route for route in (stores.route(manifest), state) if route]
    outside |= {_place(str(route["endpoint"])) for route in keeping if not route["managed"]}
    secrets = {str(route["secret"]) for route in (*routes.values(), *keeping) if route.get("secret")}
    return Service(
        name="gateway",
        role="gateway",
        module="paictl.runtime.gateway",
        config=ConfigFile("config/gateway/gateway.json", _configuration(manifest, routes)),
        endpoints=(
            Endpoint("http", spec.gateway.port, public=True, bind=vpn.bind(manifest)),
            Endpoint("inner", _INNER_PORT),
            *([Endpoint("state", _STATE_PORT)] if state else []),
        ),
        # With its state in Postgres it writes no file: any number of it can run, and each can be replaced while others serve.
        volumes=() if state else (Volume("gateway", "data/gateway", origin=manifest.origins.find(("spec", "memory"))),),
        secrets=("gateway-token", "agent-token", *sorted({*secrets, *(_IDENTITY if state else ())})),
        reaches=(*ours, *(f"{server.name}/{server.endpoints[0].name}" for server in kept)),
        egress=tuple(sorted(outside)),
        room=False,
        health=HealthCheck(endpoint="http", path="/healthz"),
        needs=tuple(server.name for server in kept),
        stop_seconds=_REPLACED_SECONDS if state else _STOPPED_SECONDS,
        origin=manifest.origins.find(("spec", "gateway")),
    )


def _place(url: str) -> str:
    """``host:port`` of a URL, the scheme's own port where none is written: what a network policy needs."""
    parts = urlsplit(url)
    return f"{bracketed(parts.hostname or '')}:{parts.port or _PORTS.get(parts.scheme, 80)}"


def _configuration(manifest: Manifest, routes: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """The gateway's configuration, with its own digest as ``release``: what ``/healthz`` shows of what it was started with."""
    rules = _rules(manifest, routes)
    digest = hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
    return {**rules, "release": digest[:16]}


def _behind_the_door(route: Mapping[str, object]) -> dict[str, object]:
    """A route without what only the agent cuts its questions to: another context size does not interrupt people."""
    return {key: value for key, value in route.items() if key not in {"context", "tools"}}


def _rules(manifest: Manifest, routes: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    spec, names = manifest.agent.spec, [*clusters.names(manifest), *vpn.own_names(manifest)]
    state, (key, following) = stores.state_route(manifest), _IDENTITY
    if state:
        state |= {"listen": "endpoint://gateway/state"}
    return {
        "agent": manifest.agent.metadata.name,
        "owner": manifest.agent.metadata.owner,
        "listen": "endpoint://gateway/http",
        "inner": "endpoint://gateway/inner",
        **({"names": names} if names else {}),
        "models": {name: _behind_the_door(route) for name, route in routes.items()},
        "routing": _routing(manifest, routes),
        "memory": {
            "embed": spec.memory.embed,
            **({"store": stores.route(manifest)} if stores.route(manifest) else {}),
            "spaces": {name: space.model_dump(by_alias=True) for name, space in spec.memory.spaces.items()},
        },
        "permissions": spec.permissions.model_dump(),
        **(
            {"state": state, "identity_key_file": f"secrets/{key}", "next_key_file": f"secrets/{following}"}
            if state
            else {}
        ),
    }


def _routing(manifest: Manifest, routes: Mapping[str, Mapping[str, object]]) -> dict[str, list[str]]:
    """The declared order of each task; where none is declared, the models of that task as they stand in the manifest."""
    tasks = {str(route["task"]) for route in routes.values()}
    declared = {str(task): list(names) for task, names in manifest.agent.spec.routing.items()}
    return {
        task: declared.get(task) or [name for name, route in routes.items() if route["task"] == task]
        for task in sorted(tasks)
    }
