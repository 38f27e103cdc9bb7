"""The orchestration engines' part of the blueprint: Temporal and n8n from their published images.

The agent keeps its workflows itself so far (embedded), so ``unavailable`` refuses to apply a manifest that asks for one of
these; ``paictl render`` shows what will stand: behind the gateway like everything that is not the agent.

Sources: ``.github/docker/cli.Dockerfile`` of temporalio/cli (an image of the one program, user 1000, no shell) and
https://docs.temporal.io/cli/server: one process with its history in SQLite, which is enough for one person's workflows; a
cluster is what ``manage: external`` is for. ``docker/images/n8n/Dockerfile`` of n8n-io/n8n (user 1000, Node.js, no curl) and
https://docs.n8n.io/hosting/: ``/healthz``, the user folder, telemetry; it makes its own encryption key in that folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paictl.blueprint.images import pinned_reference
from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Limits, Service, Upstream, Volume
from paictl.manifest.load import Manifest

__all__ = ["behind", "servers"]

_MIB = 1 << 20
_TEMPORAL_PORT, _N8N_PORT = 7233, 5678
# The user of both images.
_UID = 1000
_NODE_ASKS = f"fetch('http://127.0.0.1:{_N8N_PORT}/healthz').then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"


def servers(manifest: Manifest, images: Mapping[str, str]) -> tuple[Service, ...]:
    """The engine that the manifest asks for, when paictl is to run it."""
    asked = manifest.agent.spec.orchestration
    makers = {"temporal": _temporal, "n8n": _n8n}
    if asked.manage == "external" or asked.engine not in makers:
        return ()
    service = makers[asked.engine](pinned_reference(manifest, images, asked.engine))
    return (replace(service, origin=manifest.origins.find(("spec", "orchestration"))),)


def behind(door: Service, found: tuple[Service, ...]) -> Service:
    """The gateway, which alone reaches them."""
    return replace(door, reaches=(*door.reaches, *(f"{service.name}/http" for service in found)))


def _temporal(reference: str) -> Service:
    data = "/data"
    command = ("server", "start-dev", "--headless", "--ip", "0.0.0.0", "--port", str(_TEMPORAL_PORT))  # noqa: S104 - in a container
    return _service(
        "temporal",
        _TEMPORAL_PORT,
        Volume("temporal", data),
        Upstream(
            image="temporal",
            reference=reference,
            command=(*command, "--db-filename", f"{data}/temporal.db", "--log-format", "json"),
            entrypoint=("/temporal",),
            environment={"HOME": data},
            uid=_UID,
            healthy=("/temporal", "operator", "cluster", "health", "--address", f"127.0.0.1:{_TEMPORAL_PORT}"),
        ),
        # 150 MiB measured idle.
        Limits(memory=768 * _MIB),
    )


def _n8n(reference: str) -> Service:
    data = "/home/node/.n8n"
    return _service(
        "n8n",
        _N8N_PORT,
        Volume("n8n", data),
        Upstream(
            image="n8n",
            reference=reference,
            command=("start",),
            entrypoint=("n8n",),
            environment={
                "N8N_USER_FOLDER": "/home/node",
                "N8N_PORT": str(_N8N_PORT),
                "N8N_DIAGNOSTICS_ENABLED": "false",
                "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
                "N8N_TEMPLATES_ENABLED": "false",
                "N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS": "true",
            },
            uid=_UID,
            scratch=("/tmp", "/home/node/.cache"),  # noqa: S108 - the container's own
            healthy=("node", "-e", _NODE_ASKS),
        ),
        # 624 MB measured idle.
        Limits(memory=1536 * _MIB, pids=512),
    )


def _service(name: str, port: int, volume: Volume, upstream: Upstream, limits: Limits) -> Service:
    return Service(
        name=name,
        role="orchestrator",
        module="",
        config=ConfigFile("", ""),
        endpoints=(Endpoint("http", port),),
        volumes=(volume,),
        health=HealthCheck(endpoint="http", path="/healthz", timeout_seconds=120.0),
        limits=limits,
        upstream=upstream,
    )
