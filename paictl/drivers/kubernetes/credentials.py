"""What proves to an API server who asks: a token, a certificate, or what a cloud's own program hands out. Used by ``dialling``."""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paictl.drivers.kubernetes.kubeconfig import Cluster, ExecPlugin
from paictl.errors import Unreachable

__all__ = ["Credentials"]

_PLUGIN_SECONDS = 60
_SPARE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class _Handed:
    """What a plugin gave; ``until`` is seconds since 1970, 0 for as long as this runs."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    until: float = 0.0


class Credentials:
    """Of one user at one cluster; asks a plugin when there is need, and again when its answer has expired or was refused."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._handed: _Handed | None = None

    def header(self) -> Mapping[str, str]:
        """What to send along with each request."""
        user = self._cluster.user
        token = user.token
        if user.token_file:
            token = _read(user.token_file)
        elif user.plugin and not token:
            token = self._ask(user.plugin).token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def forget(self) -> bool:
        """Have a plugin asked again; whether that may help."""
        with self._lock:
            known, self._handed = self._handed, None
        return known is not None

    def trusting(self) -> ssl.SSLContext:
        """TLS as the kubeconfig wants it, with the user's certificate where there is one."""
        cluster, user = self._cluster, self._cluster.user
        context = ssl.create_default_context(cadata=cluster.authority.decode("ascii") or None)
        if cluster.unverified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = user.certificate, user.key
        if user.plugin and not certificate:
            handed = self._ask(user.plugin)
            certificate, key = handed.certificate, handed.key
        if certificate:
            # The library takes a path only; nobody else may read it, and it is gone at once.
            with tempfile.NamedTemporaryFile(prefix="paictl-") as both:
                both.write(certificate + b"\n" + key)
                both.flush()
                context.load_cert_chain(both.name)
        return context

    def _ask(self, plugin: ExecPlugin) -> _Handed:
        with self._lock:
            known = self._handed
            if known is None or (known.until and known.until - _SPARE_SECONDS < datetime.now(UTC).timestamp()):
                known = self._handed = _run(plugin, self._cluster)
            return known


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Unreachable(f"{path} can't be read: {error.strerror}", help="It has to hold the token.") from error


def _run(plugin: ExecPlugin, cluster: Cluster) -> _Handed:
    program = _program(plugin)
    spec: dict[str, Any] = {"interactive": False}
    if plugin.cluster_info:
        authority = base64.b64encode(cluster.authority).decode("ascii")
        spec["cluster"] = {"server": cluster.server, "certificate-authority-data": authority}
    asked = json.dumps({"apiVersion": plugin.version, "kind": "ExecCredential", "spec": spec})
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": asked}
    try:
        done = subprocess.run(
            [program, *plugin.arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PLUGIN_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{plugin.command} did not hand out credentials: {error}", help=plugin.hint) from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = said[-1] if said else f"exit status {done.returncode}"
        raise Unreachable(
            f"{plugin.command} did not hand out credentials: {reason}", help=plugin.hint or "Log in with it again."
        )
    return _handed(done.stdout, plugin)


def _program(plugin: ExecPlugin) -> str:
    """A bare name is looked for on the path, anything else is meant relative to the kubeconfig."""
    if os.sep in plugin.command:
        return str(Path(plugin.folder) / plugin.command)
    found = shutil.which(plugin.command)
    if found is None:
        raise Unreachable(
            f"the kubeconfig wants {plugin.command}, which is not installed",
            help=plugin.hint or "Install it, or take another user in the kubeconfig.",
        )
    return found


def _handed(answer: bytes, plugin: ExecPlugin) -> _Handed:
    try:
        status = json.loads(answer)["status"]
        expires = str(status.get("expirationTimestamp") or "")
        return _Handed(
            token=str(status.get("token") or ""),
            certificate=str(status.get("clientCertificateData") or "").encode("ascii"),
            key=str(status.get("clientKeyData") or "").encode("ascii"),
            until=datetime.fromisoformat(expires).timestamp() if expires else 0.0,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreachable(
            f"what {plugin.command} handed out is no credential", help=plugin.hint or "Log in with it again."
        ) from error
