"""The memory store's part of the blueprint: a server of vectors when the manifest asks for one, and how the gateway finds it.

What it holds are numbers, vectors and scopes; every text stays in the gateway's own file, from which all of it can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from paictl.blueprint.images import pinned_reference
from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Limits, Service, Upstream, Volume
from paictl.manifest.load import Manifest

__all__ = ["POSTGRES_SETTINGS", "route", "store"]

_NAME = "store"
_PASSWORD = "store-password"
_PASSWORD_FILE = f"/srv/paictl/secrets/{_PASSWORD}"
_MIB = 1024**2
# The user of Postgres in its Debian image (docker-library/postgres); Chroma's image has none of its own, nor needs one.
_POSTGRES_UID = 999
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


def store(manifest: Manifest, images: Mapping[str, str]) -> Service | None:
    """The store's service, when paictl is to run one; ``images`` are the locked references."""
    wanted = manifest.agent.spec.memory.store
    if wanted.manage == "external":
        return None
    if wanted.engine == "pgvector":
        return _service(manifest, Endpoint("sql", 5432), _POSTGRES_DATA, _postgres(manifest, images), (_PASSWORD,))
    if wanted.engine == "chroma":
        return _service(manifest, Endpoint("http", 8000), "/data", _chroma(manifest, images), ())
    return None


def route(manifest: Manifest) -> dict[str, object]:
    """What the gateway has to know of it (``paictl.runtime.config.StoreRoute`` as JSON data); nothing for the embedded one."""
    wanted = manifest.agent.spec.memory.store
    if wanted.engine == "embedded":
        return {}
    if wanted.manage == "external":
        declared = manifest.agent.spec.secrets.get(wanted.secret or "")
        host = urlsplit(wanted.url or "").hostname or ""
        return {
            "engine": wanted.engine,
            "endpoint": wanted.url,
            "managed": False,
            "secret": wanted.secret,
            "hosts": list(declared.hosts) if declared and declared.hosts else [host],
        }
    ours = {"engine": wanted.engine, "managed": True}
    if wanted.engine == "pgvector":
        return ours | {"endpoint": f"endpoint://{_NAME}/sql", "secret": _PASSWORD, "hosts": [_NAME]}
    return ours | {"endpoint": f"endpoint://{_NAME}/http"}


def _service(
    manifest: Manifest, endpoint: Endpoint, data: str, upstream: Upstream, secrets: tuple[str, ...]
) -> Service:
    origin = manifest.origins.find(("spec", "memory", "store"))
    return Service(
        name=_NAME,
        role="store",
        module="",
        config=ConfigFile("", ""),
        endpoints=(endpoint,),
        # Named by its engine: another one would find files that it can't read.
        volumes=(Volume(f"{_NAME}-{upstream.image}", data, origin=origin),),
        secrets=secrets,
        health=HealthCheck(endpoint=None, timeout_seconds=120.0),
        limits=Limits(memory=1024 * _MIB),
        stop_seconds=60.0,
        upstream=upstream,
        origin=origin,
    )


def _postgres(manifest: Manifest, images: Mapping[str, str]) -> Upstream:
    settings = [part for name, value in POSTGRES_SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return Upstream(
        image="pgvector",
        reference=pinned_reference(manifest, images, "pgvector"),
        command=("postgres", *settings),
        environment={
            "POSTGRES_USER": "paictl",
            "POSTGRES_DB": "paictl",
            "POSTGRES_PASSWORD_FILE": _PASSWORD_FILE,
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


def _chroma(manifest: Manifest, images: Mapping[str, str]) -> Upstream:
    return Upstream(
        image="chroma",
        reference=pinned_reference(manifest, images, "chroma"),
        command=("run", "--path", "/data", "--host", "0.0.0.0", "--port", "8000"),  # noqa: S104 - on its own network
        environment={"ANONYMIZED_TELEMETRY": "FALSE", "HOME": "/tmp"},  # noqa: S108 - inside its container
        scratch=("/tmp",),  # noqa: S108 - inside its container
        healthy=("/bin/bash", "-c", _CHROMA_HEALTH),
    )
