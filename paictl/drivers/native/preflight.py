"""What can be known to fail before anything changes: a port taken, no space, no memory, no sandbox, a runtime nobody has."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence

from paictl import places
from paictl.blueprint.types import Blueprint, Endpoint
from paictl.disk import existing, free_bytes
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.processes import marked
from paictl.drivers.native.venvs import available, buildable, cached
from paictl.errors import Refused
from paictl.render import native
from paictl.sandbox import namespaces

__all__ = ["check"]

_BWRAP_SINCE = (0, 8)  # --disable-userns
_BWRAP_SECONDS = 20
_VENV_BYTES = 700 << 20
_SPARE_BYTES = 64 << 20
# Characters that supervisor's configuration, systemd's or a glob would read as something else.
_AWKWARD = re.compile(r"[%\n\r;#\"'\\*?\[\]]")


def check(blueprint: Blueprint, layout: Layout, held: Sequence[str], *, offline: bool = False) -> None:
    """Raise ``Refused`` for the first thing in the way. ``held`` are the hashes of the model files that are here already."""
    if _AWKWARD.search(str(layout.root)):
        raise Refused(
            f"{layout.root} has a character that can't be written into configuration files", help="Set XDG_DATA_HOME."
        )
    _runtime(blueprint, layout)
    if not blueprint.unconfined:
        _sandbox()
    _ports(blueprint, layout)
    if offline:
        _cached(blueprint, layout, held)
    _disk(blueprint, layout, held)
    _memory(blueprint)


def _runtime(blueprint: Blueprint, layout: Layout) -> None:
    digest = blueprint.runtime.digest
    if not available(digest) and not layout.venv(digest).is_dir():
        raise Refused(
            f"the lock pins the runtime {digest[:12]} ({blueprint.runtime.version}), which is neither here nor in this paictl",
            help="Run `paictl lock` to take the runtime of this paictl, and apply again.",
        )


def _sandbox() -> None:
    help_ = (
        "Install it (`sudo apt-get install bubblewrap`), or set `unconfined: true` on the target to run without a room."
    )
    if shutil.which("bwrap") is None:
        raise Refused("bubblewrap is not installed, so the agent can't be confined", help=help_)
    said = subprocess.run(
        ["bwrap", "--version"], capture_output=True, text=True, check=False, timeout=_BWRAP_SECONDS
    ).stdout
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if version < _BWRAP_SINCE:
        raise Refused(f"{said.strip() or 'bubblewrap'} is too old to confine the agent: 0.8 is needed", help=help_)
    made = namespaces()
    command = [*made.prefix, "bwrap", *made.options(network=False), "--cap-drop", "ALL"]
    command += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BWRAP_SECONDS)
    if tried.returncode != 0:
        raise Refused(
            f"bubblewrap can't make a room here: {tried.stderr.strip()}",
            help="This system forbids user namespaces to you (sysctl kernel.unprivileged_userns_clone or "
            "kernel.apparmor_restrict_unprivileged_userns, or a container without them); allow them, or set "
            "`unconfined: true` on the target to run without a room.",
        )


def _ports(blueprint: Blueprint, layout: Layout) -> None:
    ours = {process.pid for process in marked(layout)}
    for service in blueprint.services:
        for endpoint in service.endpoints:
            if endpoint.public and not _free(endpoint):
                pid, name = _holder(endpoint.port)
                if pid not in ours:
                    by = f"{_whose(pid)}{name} (pid {pid})" if pid else "a process of another user"
                    raise Refused(
                        f"port {endpoint.port} on {endpoint.bind} is taken by {by}",
                        help="End it, or choose another port with `spec.gateway.port`.",
                    )


def _free(endpoint: Endpoint) -> bool:
    family = socket.AF_INET6 if ":" in endpoint.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        # As the gateway's own listener does: connections of a just ended one don't count.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((endpoint.bind, endpoint.port))
        except OSError as error:
            if isinstance(error, PermissionError):
                raise Refused(
                    f"port {endpoint.port} is for the administrator only", help="Choose one above 1023."
                ) from error
            return False
    return True


def _holder(port: int) -> tuple[int, str]:
    """Who listens there: pid and name, or (0, "") when it can't be seen."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:] == (port,):
                return connection.pid, psutil.Process(connection.pid).name()
    return 0, ""


def _cached(blueprint: Blueprint, layout: Layout, held: Sequence[str]) -> None:
    from paictl.weights.cache import Cache

    cache = Cache()
    missing = [
        one.source
        for one in blueprint.weights
        if not one.source.startswith("file:") and one.sha256 not in held and not cache.has(one.sha256)
    ]
    digest = blueprint.runtime.digest
    if not layout.venv(digest).is_dir() and not buildable(digest):
        missing.append("the runtime's packages")
    if missing:
        raise Refused(
            f"{', '.join(missing)}: not in the cache, and --offline forbids to fetch",
            help="Run it once without --offline.",
        )


def _whose(pid: int) -> str:
    """``the agent borea, `` when it is one of ours."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        mark = psutil.Process(pid).environ().get("PAICTL_MARK")
        for root in places.data_home().iterdir() if mark else ():
            if native.mark(root) == mark:
                return f"the agent {root.name}, "
    return ""


def _disk(blueprint: Blueprint, layout: Layout, held: Sequence[str]) -> None:
    from paictl.weights.cache import Cache

    cache, digest = Cache(), blueprint.runtime.digest
    wanted = [one for one in blueprint.weights if one.sha256 not in held]
    fetched = sum(one.size for one in wanted if not cache.path(one.sha256).is_file())
    fetched += 0 if cached(digest).is_dir() else _VENV_BYTES
    # Within one disk everything is linked; to another one it is copied.
    apart = existing(cache.root).stat().st_dev != existing(layout.root).stat().st_dev
    copied = sum(one.size for one in wanted) + (0 if layout.venv(digest).is_dir() else _VENV_BYTES) if apart else 0
    for path, needed in ((cache.root, fetched + _SPARE_BYTES), (layout.root, copied + _SPARE_BYTES)):
        free = free_bytes(path)
        if free < needed:
            raise Refused(
                f"{path} has {free >> 20} MiB free, and {needed >> 20} MiB are needed there",
                help="Free some space, or set XDG_CACHE_HOME and XDG_DATA_HOME to a larger disk.",
            )


def _memory(blueprint: Blueprint) -> None:
    import psutil

    needed = sum(service.limits.memory for service in blueprint.services)
    total = psutil.virtual_memory().total
    if needed > total:
        raise Refused(
            f"the services need {needed >> 20} MiB of memory; this machine has {total >> 20} MiB",
            help="`paictl fit` names models that fit.",
        )
