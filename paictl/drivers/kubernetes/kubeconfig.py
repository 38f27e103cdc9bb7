"""Which cluster is meant and as whom, read as kubectl reads it: kubeconfig files, a context, or the pod this runs in. Reaches nothing."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from paictl.errors import Unreachable

__all__ = ["Cluster", "ExecPlugin", "User", "find"]

_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_VIEW = "`kubectl config view` shows what is configured."
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that hands out credentials, as clouds' clusters want it (client.authentication.k8s.io)."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    version: str
    hint: str
    mode: str
    cluster_info: bool
    folder: str


@dataclass(frozen=True, slots=True)
class User:
    """As whom: what is empty is not used. ``token_file`` is read anew whenever it is needed, since it is renewed there.

    ``acting`` are the headers that say for whom else this user asks (impersonation).
    """

    token: str = field(default="", repr=False)
    token_file: str = ""
    name: str = ""
    password: str = field(default="", repr=False)
    acting: tuple[tuple[str, str], ...] = ()
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    plugin: ExecPlugin | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the API server is and how it is known. ``context`` is told to people; ``namespace`` is the context's own.

    ``extension`` is what the file has for programs that hand out credentials.
    """

    context: str
    server: str
    user: User
    authority: bytes = b""
    server_name: str = ""
    unverified: bool = False
    proxy: str = ""
    namespace: str = ""
    extension: object = None


def find(context: str | None, environment: Mapping[str, str] | None = None) -> Cluster:
    """The cluster of that context, else of the current one, else the one this runs in; raises ``Unreachable``."""
    given = os.environ if environment is None else environment
    named = [Path(one) for one in given.get("KUBECONFIG", "").split(os.pathsep) if one]
    paths = [path for path in named or [Path.home() / ".kube" / "config"] if path.is_file()]
    if not paths:
        if context is None and given.get("KUBERNETES_SERVICE_HOST") and (_POD / "token").is_file():
            return _of_this_pod(given)
        where = " and ".join(map(str, named)) or "~/.kube/config"
        raise Unreachable(
            f"no cluster is configured here: {where} is not there",
            help="Put the cluster's kubeconfig there, or name its file with KUBECONFIG.",
        )
    return _Merged([(path, _read(path)) for path in paths]).cluster(context)


def _of_this_pod(given: Mapping[str, str]) -> Cluster:
    host = given["KUBERNETES_SERVICE_HOST"]
    bracketed = f"[{host}]" if ":" in host else host
    return Cluster(
        context="the cluster this runs in",
        server=f"https://{bracketed}:{given.get('KUBERNETES_SERVICE_PORT', '443')}",
        user=User(token_file=str(_POD / "token")),
        authority=(_POD / "ca.crt").read_bytes(),
        namespace=(_POD / "namespace").read_text(encoding="utf-8").strip(),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unreachable(f"{path} can't be read: {error.strerror}", help="It has to be readable for you.") from error
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else _yaml(text) or {}
    except Exception as error:
        raise Unreachable(f"{path} is no kubeconfig: it is not YAML", help=_VIEW) from error
    if not isinstance(found, dict):
        raise Unreachable(f"{path} is no kubeconfig", help=_VIEW)
    return found


def _yaml(text: str) -> Any:
    import yaml

    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both make plain values only


@dataclass(frozen=True)
class _Merged:
    """Several files in one: of each name the first that has it counts."""

    files: Sequence[tuple[Path, Mapping[str, Any]]]

    def cluster(self, context: str | None) -> Cluster:
        current = next((str(one["current-context"]) for _, one in self.files if one.get("current-context")), "")
        name = context or current
        if not name:
            raise Unreachable(
                "no context of the kubeconfig is the current one",
                help="Name one as `context` of the target, or choose one with `kubectl config use-context`.",
            )
        _, chosen = self._entry("context", name)
        place, cluster = self._entry("cluster", str(chosen.get("cluster", "")))
        unverified = bool(cluster.get("insecure-skip-tls-verify"))
        if unverified and (cluster.get("certificate-authority") or cluster.get("certificate-authority-data")):
            raise Unreachable(
                f"the kubeconfig names an authority for {name}, and wants its certificate not to be verified",
                help="Take one of the two out: `insecure-skip-tls-verify` is the one that should go.",
            )
        return Cluster(
            context=name,
            server=str(cluster.get("server", "")).rstrip("/"),
            user=self._user(str(chosen.get("user", ""))),
            authority=_content(cluster, "certificate-authority", place),
            server_name=str(cluster.get("tls-server-name", "")),
            unverified=unverified,
            proxy=str(cluster.get("proxy-url", "")),
            namespace=str(chosen.get("namespace", "")),
            extension=_extension(cluster),
        )

    def _entry(self, kind: str, name: str) -> tuple[Path, Mapping[str, Any]]:
        for path, file in self.files:
            for one in file.get(f"{kind}s") or ():
                if str(one.get("name")) == name:
                    return path, one.get(kind) or {}
        known = sorted(str(one.get("name")) for _, file in self.files for one in file.get(f"{kind}s") or ())
        raise Unreachable(
            f"the kubeconfig has no {kind} {name!r}", help=f"It has {', '.join(known) or 'none'}. {_VIEW}"
        )

    def _user(self, name: str) -> User:
        if not name:
            return User()
        path, user = self._entry("user", name)
        if "auth-provider" in user and not user.get("token"):
            raise Unreachable(
                f"the user {name!r} of the kubeconfig uses an auth-provider, which Kubernetes 1.26 removed",
                help="Write its kubeconfig anew with the cloud's own tool.",
            )
        plugin = user.get("exec")
        return User(
            token=str(user.get("token", "")),
            token_file=_beside(path, str(user.get("tokenFile", ""))),
            name=str(user.get("username", "")),
            password=str(user.get("password", "")),
            acting=_acting(name, user),
            certificate=_content(user, "client-certificate", path),
            key=_content(user, "client-key", path),
            plugin=_plugin(plugin, path) if plugin else None,
        )


def _acting(name: str, user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """For whom else this user asks; the API server decides whether it may."""
    told = list(_impersonation(user))
    if told and told[0][0] != "Impersonate-User":
        raise Unreachable(
            f"the user {name!r} of the kubeconfig acts in groups of others, and as nobody", help="Name one with `as`."
        )
    return tuple(told)


def _impersonation(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if user.get("as"):
        yield "Impersonate-User", str(user["as"])
    if user.get("as-uid"):
        yield "Impersonate-Uid", str(user["as-uid"])
    yield from (("Impersonate-Group", str(group)) for group in user.get("as-groups") or ())
    for key, values in (user.get("as-user-extra") or {}).items():
        yield from ((f"Impersonate-Extra-{quote(str(key), safe='')}", str(value)) for value in values)


def _extension(cluster: Mapping[str, Any]) -> object:
    known = {str(one.get("name")): one.get("extension") for one in cluster.get("extensions") or ()}
    return known.get("client.authentication.k8s.io/exec")


def _plugin(entry: Mapping[str, Any], path: Path) -> ExecPlugin:
    version = str(entry.get("apiVersion", ""))
    if version not in _EXEC_VERSIONS or not entry.get("command"):
        raise Unreachable(
            f"{path} has a program for credentials that can't be asked: "
            + (f"its apiVersion is {version or 'missing'}" if entry.get("command") else "its command is missing"),
            help=f"Known are {' and '.join(_EXEC_VERSIONS)}: write the kubeconfig anew with the cloud's own tool.",
        )
    return ExecPlugin(
        command=str(entry["command"]),
        arguments=tuple(str(one) for one in entry.get("args") or ()),
        environment={str(one.get("name")): str(one.get("value") or "") for one in entry.get("env") or ()},
        version=version,
        hint=str(entry.get("installHint") or "").strip(),
        mode=str(entry.get("interactiveMode") or "IfAvailable"),
        cluster_info=bool(entry.get("provideClusterInfo")),
        folder=str(path.parent),
    )


def _content(entry: Mapping[str, Any], key: str, path: Path) -> bytes:
    """What stands in the file itself, or in another one whose path is meant relative to it."""
    data = entry.get(f"{key}-data")
    try:
        if data:
            # It may be folded over several lines.
            return base64.b64decode("".join(str(data).split()), validate=True)
        return Path(_beside(path, str(entry[key]))).read_bytes() if entry.get(key) else b""
    except (OSError, binascii.Error) as error:
        raise Unreachable(f"{key} of {path} can't be read: {error}", help=_VIEW) from error


def _beside(path: Path, other: str) -> str:
    return str(path.parent / other) if other else ""
