"""Where the Docker engine is, found as the docker command line finds it. Called by ``connection``; connects to nothing.

The rules are those of docker/cli's ``resolveContextName``: a context that was named, else DOCKER_HOST, else DOCKER_CONTEXT,
else the current context, else the local socket. Contexts are read by hand: the SDK looks for them in the working directory
when there is no ``config.json``, and takes a context with a CA but without a client certificate for one without TLS.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from paictl.errors import Unreachable

__all__ = ["Endpoint", "Tls", "find"]

_SYSTEM_SOCKET = Path("/var/run/docker.sock")
_SCHEMES = ("unix", "tcp", "ssh")


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a TLS connection, those that there are; without ``verify`` any engine is believed."""

    ca: Path | None
    certificate: Path | None
    key: Path | None
    verify: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An engine's address (``unix:///…``, ``tcp://host:port``, ``ssh://user@host:port/socket``) and what named it."""

    address: str
    source: str
    tls: Tls | None = None

    @property
    def scheme(self) -> str:
        """``unix``, ``tcp`` or ``ssh``."""
        return self.address.partition(":")[0]


def find(context: str | None = None, environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The engine that is meant; raises ``Unreachable`` when what is named does not exist or is no address."""
    settings = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    source = "the manifest"
    if not context and not environment.get("DOCKER_HOST"):
        context, source = environment.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
        if not context:
            context, source = _current(settings), f"{settings / 'config.json'}"
    if context and context != "default":
        return _from_context(settings, context, source)
    host = environment.get("DOCKER_HOST")
    if host:
        return _endpoint(host, "DOCKER_HOST", _tls_of(environment, settings))
    return Endpoint(f"unix://{_local_socket(environment, settings)}", "the local socket")


def _current(settings: Path) -> str:
    try:
        content = json.loads((settings / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    return str(content.get("currentContext") or "") if isinstance(content, dict) else ""


def _from_context(settings: Path, name: str, source: str) -> Endpoint:
    digest = hashlib.sha256(name.encode()).hexdigest()
    try:
        content = json.loads((settings / "contexts" / "meta" / digest / "meta.json").read_bytes())
        docker = content["Endpoints"]["docker"]
        host, verify = str(docker["Host"]), not docker.get("SkipTLSVerify")
    except FileNotFoundError:
        raise Unreachable(
            f"there is no Docker context named {name}, which {source} asks for",
            help=f"These exist: {', '.join(_names(settings))}. `docker context create` makes one.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(
            f"the Docker context {name} can't be read: {error}", help="`docker context inspect` shows what is in it."
        ) from error
    folder = settings / "contexts" / "tls" / digest / "docker"
    material = _material(folder, verify=verify) if folder.is_dir() else None
    return _endpoint(host, f"the Docker context {name}", material if host.startswith("tcp:") else None)


def _names(settings: Path) -> list[str]:
    names = []
    for path in (settings / "contexts" / "meta").glob("*/meta.json"):
        try:
            names.append(str(json.loads(path.read_bytes())["Name"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another's broken context is no answer to which ones there are
    return ["default", *sorted(names)]


def _tls_of(environment: Mapping[str, str], settings: Path) -> Tls | None:
    verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not verify and not environment.get("DOCKER_TLS"):
        return None
    return _material(Path(environment.get("DOCKER_CERT_PATH") or settings), verify=verify)


def _material(folder: Path, *, verify: bool) -> Tls:
    ca, certificate, key = (
        path if path.is_file() else None for path in (folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    )
    return Tls(ca, certificate, key, verify)


def _endpoint(host: str, source: str, tls: Tls | None) -> Endpoint:
    address = host.strip()
    try:
        parts = urlsplit(address)
        port, hostname = parts.port, parts.hostname
    except ValueError as error:
        raise _no_address(source, str(error)) from None
    if parts.scheme not in _SCHEMES:
        raise _no_address(source, f"it begins with none of {', '.join(f'{one}://' for one in _SCHEMES)}")
    if parts.password:
        # Never shown, and of no use: neither the engine nor ssh takes one from an address.
        raise _no_address(source, "it holds a password")
    if parts.scheme == "unix" and not (parts.netloc + parts.path).startswith("/"):
        raise _no_address(source, "unix:// is followed by the absolute path of a socket")
    if parts.scheme != "unix" and not hostname:
        raise _no_address(source, "it names no host")
    if parts.scheme == "tcp" and port is None:
        raise _no_address(source, "it names no port (2376 with TLS is usual)")
    return Endpoint(address, source, tls if parts.scheme == "tcp" else None)


def _no_address(source: str, reason: str) -> Unreachable:
    return Unreachable(
        f"{source} holds no address of a Docker engine: {reason}",
        help="Such as unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host.",
    )


def _local_socket(environment: Mapping[str, str], settings: Path) -> Path:
    """The system's socket, unless only a rootless engine's or Docker Desktop's is there for this user."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    others = [Path(runtime) / "docker.sock"] if runtime else []
    others.append(settings / "run" / "docker.sock")
    if not os.access(_SYSTEM_SOCKET, os.R_OK | os.W_OK):
        for path in others:
            if os.access(path, os.R_OK | os.W_OK):
                return path
    return _SYSTEM_SOCKET
