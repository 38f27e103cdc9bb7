"""A short-lived container in the room of another: where software of others brings no Python to try things with. Called by the driver.

It shares that container's network and processes, sees its volumes read-only, runs as its user, and may do no more than it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import NAME, labels
from paictl.engine.driver import Scope

__all__ = ["beside"]

_KIND = "companion"
_MEMORY = 256 << 20
_PIDS = 64
# It ends by itself, and the engine removes it then: whoever made it may have been killed.
_WAIT = "import time; time.sleep(180)"


@contextmanager
def beside(connection: Connection, scope: Scope, container_id: str, image: str) -> Iterator[str]:
    """The id of a container of the runtime's ``image`` in the room of ``container_id``; gone after the block."""
    import docker.errors

    api, room = connection.api, connection.api.inspect_container(container_id)
    host = api.create_host_config(
        network_mode=f"container:{container_id}",
        pid_mode=f"container:{container_id}",
        volumes_from=[f"{container_id}:ro"],
        group_add=room["HostConfig"].get("GroupAdd") or [],
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        mem_limit=_MEMORY,
        memswap_limit=_MEMORY,
        pids_limit=_PIDS,
        auto_remove=True,
    )
    service = str(room["Config"]["Labels"][NAME])
    made = api.create_container(
        image,
        ["-I", "-c", _WAIT],
        name=f"{scope.agent}-{service}-{_KIND}-{secrets.token_hex(4)}",
        user=room["Config"]["User"],
        healthcheck={"test": ["NONE"]},
        labels=labels(scope, _KIND, service),
        host_config=host,
    )["Id"]
    try:
        api.start(made)
        yield str(made)
    finally:
        with suppress(docker.errors.NotFound):
            api.remove_container(made, force=True)
