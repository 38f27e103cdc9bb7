"""The servers that keep something for the gateway: one of vectors, one of state, or one Postgres for both; and how it finds them.

What a store of vectors holds are numbers, vectors and scopes; every text is with the state, from which all of it can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from paictl.blueprint.images import pinned_reference
from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Limits, Service, Upstream, Volume
from paictl.manifest.load import Manifest

__all__ = ["POSTGRES_SETTINGS", "route", "servers", "state_route"]

_STORE = "store"
# Of another name than a store: what it keeps can't be made again, so no change of the store may move it.
_STATE = "state"
_MIB = 1024**2
# The user of Postgres in its Debian image (docker-library/postgres); Chroma's image has none of its own, nor needs one.
_POSTGRES_UID = 999
# Each gateway holds up to eight for its state and one for vectors, and passes on those of the agent.
_CONNECTIONS_FOR_STATE = "200"
_POSTGRES_DATA = "/var/lib/postgresql/data"
POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "*",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "20",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    # Old segments hold vectors of what was forgotten: removed they are gone, recycled they would stay.
    "wal_recycle": "off",
    "wal_init_zero": "off",
    "password_encryption": "scram-sha-256",
}
"""For one client on a small machine: a gateway holds one connection, and 100,000 vectors of 384 numbers are 200 MB on disk.

fsync and synchronous_commit are on by default; said here, so that no image's own settings can turn them off.
"""
# The image has neither curl nor Python (chromadb/chroma 1.x), but bash.
_CHROMA_HEALTH = (
    "exec 3<>/dev/tcp/127.0.0.1/8000; "
    r"printf 'GET /api/v2/heartbeat HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; "
    'read -r line <&3; [[ $line == *" 200 "* ]]'
)


def servers(manifest: Manifest, images: Mapping[str, str]) -> tuple[Service, ...]:
    """The servers that paictl is to run, at most one of each kind; ``images`` are the locked references."""
    wanted, found = manifest.agent.spec.memory.store, []
    if _keeps_state(manifest):
        found.append(_postgres(manifest, images, _STATE, {"max_connections": _CONNECTIONS_FOR_STATE}))
    if wanted.manage == "managed" and wanted.engine == "chroma":
        found.append(_chroma(manifest, images))
    if wanted.manage == "managed" and wanted.engine == "pgvector" and not found:
        found.append(_postgres(manifest, images, _STORE, {}))
    return tuple(found)


def route(manifest: Manifest) -> dict[str, object]:
    """What the gateway has to know of the vectors (``paictl.runtime.config.StoreRoute`` as JSON data); nothing for embedded ones."""
    wanted = manifest.agent.spec.memory.store
    if wanted.engine == "embedded":
        return {}
    if wanted.manage == "external":
        return {"engine": wanted.engine} | _external(manifest, wanted.url, wanted.secret)
    if wanted.engine == "pgvector":
        return {"engine": wanted.engine} | _managed(_STATE if _keeps_state(manifest) else _STORE)
    return {"engine": wanted.engine, "managed": True, "endpoint": f"endpoint://{_STORE}/http"}


def state_route(manifest: Manifest) -> dict[str, object]:
    """What the gateway has to know of the database of its state (``StateRoute`` as JSON data); nothing for embedded state."""
    wanted = manifest.agent.spec.state
    if wanted.engine == "embedded":
        return {}
    if wanted.manage == "external":
        return _external(manifest, wanted.url, wanted.secret)
    return _managed(_STATE)


def _keeps_state(manifest: Manifest) -> bool:
    state = manifest.agent.spec.state
    return state.engine == "postgres" and state.manage == "managed"


def _external(manifest: Manifest, url: str | None, secret: str | None) -> dict[str, object]:
    declared = manifest.agent.spec.secrets.get(secret or "")
    host = urlsplit(url or "").hostname or ""
    hosts = list(declared.hosts) if declared and declared.hosts else [host]
    return {"endpoint": url, "managed": False, "secret": secret, "hosts": hosts}


def _managed(name: str) -> dict[str, object]:
    return {"endpoint": f"endpoint://{name}/sql", "managed": True, "secret": f"{name}-password", "hosts": [name]}


def _service(manifest: Manifest, name: str, endpoint: Endpoint, data: str, upstream: Upstream) -> Service:
    origin = manifest.origins.find(("spec", "state") if name == _STATE else ("spec", "memory", "store"))
    return Service(
        name=name,
        role="store",
        module="",
        config=ConfigFile("", ""),
        endpoints=(endpoint,),
        # Named by its engine: another one would find files that it can't read.
        volumes=(Volume(f"{name}-{upstream.image}", data, origin=origin),),
        secrets=(f"{name}-password",) if upstream.image == "pgvector" else (),
        health=HealthCheck(endpoint=None, timeout_seconds=120.0),
        limits=Limits(memory=1024 * _MIB),
        stop_seconds=60.0,
        upstream=upstream,
        origin=origin,
    )


def _postgres(manifest: Manifest, images: Mapping[str, str], name: str, other: Mapping[str, str]) -> Service:
    settings = [part for key, value in {**POSTGRES_SETTINGS, **other}.items() for part in ("-c", f"{key}={value}")]
    upstream = Upstream(
        image="pgvector",
        reference=pinned_reference(manifest, images, "pgvector"),
        command=("postgres", *settings),
        environment={
            "POSTGRES_USER": "paictl",
            "POSTGRES_DB": "paictl",
            "POSTGRES_PASSWORD_FILE": f"/srv/paictl/secrets/{name}-password",
            # Small segments: after each forget one is ended and removed.
            "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --data-checksums --wal-segsize=1",
            # initdb wants an empty directory, and a volume's root may hold lost+found.
            "PGDATA": f"{_POSTGRES_DATA}/pgdata",
        },
        uid=_POSTGRES_UID,
        scratch=("/tmp", "/var/run/postgresql"),  # noqa: S108 - inside its container
        # Over TCP: while the image sets itself up, a first server answers on its socket only.
        healthy=("pg_isready", "-q", "-h", "127.0.0.1", "-U", "paictl", "-d", "paictl"),
    )
    return _service(manifest, name, Endpoint("sql", 5432), _POSTGRES_DATA, upstream)


def _chroma(manifest: Manifest, images: Mapping[str, str]) -> Service:
    upstream = Upstream(
        image="chroma",
        reference=pinned_reference(manifest, images, "chroma"),
        command=("run", "--path", "/data", "--host", "0.0.0.0", "--port", "8000"),  # noqa: S104 - on its own network
        environment={"ANONYMIZED_TELEMETRY": "FALSE", "HOME": "/tmp"},  # noqa: S108 - inside its container
        scratch=("/tmp",),  # noqa: S108 - inside its container
        healthy=("/bin/bash", "-c", _CHROMA_HEALTH),
    )
    return _service(manifest, _STORE, Endpoint("http", 8000), "/data", upstream)
