"""The room's part of the blueprint: the one service that thinks, and that reaches nothing but the gateway's inner door."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from paictl.blueprint.types import ConfigFile, HealthCheck, Service, Volume
from paictl.manifest.load import Manifest
from paictl.manifest.quantities import parse_duration

__all__ = ["agent"]

# Importing the agent's libraries takes some seconds on a small board.
_STARTS_WITHIN_SECONDS = 60.0


def agent(manifest: Manifest, routes: Mapping[str, Mapping[str, object]]) -> Service:
    """The agent's service."""
    shared = manifest.agent.spec.state.engine == "postgres"
    return Service(
        name="agent",
        role="agent",
        module="paictl.runtime.agent",
        config=ConfigFile("config/agent/agent.json", _configuration(manifest, routes)),
        volumes=()
        if shared
        else (Volume("agent", "data/agent", origin=manifest.origins.find(("spec", "orchestration"))),),
        secrets=("agent-token", "checkpoint-key"),
        # What it has begun is written down through the gateway, too: the room keeps its one door.
        reaches=("gateway/inner", *(["gateway/state"] if shared else [])),
        room=True,
        health=HealthCheck(
            endpoint=None,
            path="/healthz/agent",
            witness="gateway/http",
            timeout_seconds=_STARTS_WITHIN_SECONDS,
        ),
        needs=("gateway",),
        origin=manifest.origins.find(("spec", "instructions")),
    )


def _configuration(manifest: Manifest, routes: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    spec = manifest.agent.spec
    thinking = _thinks_with(manifest, routes)
    behaviour: dict[str, object] = {
        "instructions": manifest.text(spec.instructions),
        "skills": {name: manifest.text(text) for name, text in spec.skills.items()},
        "workflows": {
            name: {
                "prompt": manifest.text(workflow.prompt),
                "schedule": workflow.schedule,
                "timezone": workflow.timezone,
                "retries": workflow.retries,
                "timeout_seconds": parse_duration(workflow.timeout),
            }
            for name, workflow in spec.workflows.items()
        },
    }
    return {
        "agent": manifest.agent.metadata.name,
        "owner": manifest.agent.metadata.owner,
        "gateway": "endpoint://gateway/inner",
        **({"state": "endpoint://gateway/state"} if spec.state.engine == "postgres" else {}),
        **behaviour,
        # Not what else is said of the spaces: how long they keep what is the gateway's business, and no reason to start again.
        "space": next((name for name, space in spec.memory.spaces.items() if space.retain != "session"), "long-term"),
        "model": "chat",
        "context": thinking.get("context", 8192),
        "tools": thinking.get("tools", False),
        "application_version": _digest(behaviour),
    }


def _thinks_with(manifest: Manifest, routes: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    """The first chat model in routing order: the agent's context and tools are cut to it."""
    order = manifest.agent.spec.routing.get("chat") or [n for n, route in routes.items() if route["task"] == "chat"]
    return routes[order[0]] if order else {}


def _digest(behaviour: Mapping[str, object]) -> str:
    """Work in flight ends on the behaviour it began with: a change of it is a new application version."""
    return hashlib.sha256(json.dumps(behaviour, sort_keys=True).encode()).hexdigest()[:16]
