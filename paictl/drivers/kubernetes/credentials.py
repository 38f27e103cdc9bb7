"""What proves to an API server who asks: a token, a certificate, or what a cloud's own program hands out. Used by ``dialling``."""

from __future__ import annotations

import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paictl.drivers.kubernetes.kubeconfig import Cluster, ExecPlugin
from paictl.errors import Unreachable

__all__ = ["Credentials"]

_PLUGIN_SECONDS = 60
# Somebody has to look for their phone.
_PERSON_SECONDS = 300
_SPARE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class _Handed:
    """What a plugin gave, and which time that was; ``until`` is seconds since 1970, 0 for as long as this runs."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    until: float = 0.0
    generation: int = 0


class Credentials:
    """Of one user at one cluster; asks a plugin when there is need, and again when its answer has expired or was refused."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._handed: _Handed | None = None
        self.generation = 0

    def headers(self) -> tuple[tuple[tuple[str, str], ...], int]:
        """What to send along with each request, and the generation of what a plugin gave for it."""
        user = self._cluster.user
        token, generation = user.token, 0
        if user.token_file:
            token = _read(user.token_file)
        elif user.plugin and not token:
            handed = self._ask(user.plugin)
            token, generation = handed.token, handed.generation
        if token:
            return (("Authorization", f"Bearer {token}"), *user.acting), generation
        if user.name:
            pair = base64.b64encode(f"{user.name}:{user.password}".encode()).decode("ascii")
            return (("Authorization", f"Basic {pair}"), *user.acting), generation
        return user.acting, generation

    def forget(self, generation: int) -> bool:
        """Have a plugin asked again, since what it gave the last time was refused; whether that may help.

        ``generation`` is the one that was refused: of several threads the first has it asked, once.
        """
        with self._lock:
            if generation == self.generation:
                self._handed = None
            return generation > 0

    def trusting(self) -> ssl.SSLContext:
        """TLS as the kubeconfig wants it, with the user's certificate where there is one."""
        cluster, user = self._cluster, self._cluster.user
        # What stands between the certificates is a comment.
        context = ssl.create_default_context(cadata=cluster.authority.decode("ascii", "ignore") or None)
        if cluster.unverified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = user.certificate, user.key
        if user.plugin and not certificate:
            # What the request goes with that the connection is made for.
            handed = self._handed or self._ask(user.plugin)
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
                self.generation += 1
                known = self._handed = replace(_run(plugin, self._cluster), generation=self.generation)
            return known


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Unreachable(f"{path} can't be read: {error.strerror}", help="It has to hold the token.") from error


def _run(plugin: ExecPlugin, cluster: Cluster) -> _Handed:
    program, interactive = _program(plugin), _interactive(plugin)
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.cluster_info:
        spec["cluster"] = _described(cluster)
    asked = json.dumps({"apiVersion": plugin.version, "kind": "ExecCredential", "spec": spec})
    try:
        done = subprocess.run(
            [program, *plugin.arguments],
            env={**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": asked},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # What it asks a person stands there.
            stderr=None if interactive else subprocess.PIPE,
            timeout=_PERSON_SECONDS if interactive else _PLUGIN_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{plugin.command} did not hand out credentials: {error}", help=plugin.hint) from error
    if done.returncode != 0:
        said = (done.stderr or b"").decode("utf-8", "replace").strip().splitlines()
        reason = said[-1] if said else f"exit status {done.returncode}"
        raise Unreachable(
            f"{plugin.command} did not hand out credentials: {reason}", help=plugin.hint or "Log in with it again."
        )
    return _handed(done.stdout, plugin)


def _interactive(plugin: ExecPlugin) -> bool:
    """Whether it may ask somebody, as it wants it and as there is somebody."""
    person = sys.stdin is not None and sys.stdin.isatty()
    if plugin.mode == "Always" and not person:
        raise Unreachable(
            f"{plugin.command} wants to ask a person for credentials, and nobody is at a terminal here",
            help="Log in with it on a terminal before, or take another user in the kubeconfig.",
        )
    return person and plugin.mode != "Never"


def _described(cluster: Cluster) -> Mapping[str, object]:
    """The cluster as a plugin is told of it; what is empty is left out."""
    told: dict[str, object] = {
        "server": cluster.server,
        "certificate-authority-data": base64.b64encode(cluster.authority).decode("ascii"),
        "tls-server-name": cluster.server_name,
        "insecure-skip-tls-verify": cluster.unverified,
        "proxy-url": cluster.proxy,
        "config": cluster.extension,
    }
    return {key: value for key, value in told.items() if value}


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
        told = json.loads(answer)
        known, status = told["apiVersion"] == plugin.version, told["status"]
        expires = str(status.get("expirationTimestamp") or "")
        given = _Handed(
            token=str(status.get("token") or ""),
            certificate=str(status.get("clientCertificateData") or "").encode("ascii"),
            key=str(status.get("clientKeyData") or "").encode("ascii"),
            until=datetime.fromisoformat(expires).timestamp() if expires else 0.0,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        known, given = False, _Handed()
    if not known or not (given.token or (given.certificate and given.key)):
        raise Unreachable(
            f"what {plugin.command} handed out is no credential of {plugin.version}",
            help=plugin.hint or "Log in with it again.",
        )
    return given
