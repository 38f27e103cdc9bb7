"""How tests reach a cluster: by kubectl, by plain requests, and as a user who may do only a little.

Used by the fixtures; works with any cluster's kubeconfig.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.kubernetes import build

__all__ = ["Access", "Refused", "kubeconfig"]

_SECONDS = 120
_TOKEN_HOURS = "24h"


class Refused(Exception):
    """What kubectl said when it failed."""


@dataclass(frozen=True)
class Access:
    """A cluster, as the user of this kubeconfig."""

    kubeconfig: Path

    def kubectl(self, *arguments: str, given: str | Mapping[str, Any] | None = None) -> str:
        """What it prints; ``given`` is its standard input. Raises Refused."""
        text = json.dumps(given) if isinstance(given, Mapping) else given
        done = subprocess.run(
            self.command(*arguments), input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode != 0:
            raise Refused(done.stderr.strip())
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        """The command line of kubectl, for what runs on, such as a port-forward."""
        return [str(build.kubectl()), f"--kubeconfig={self.kubeconfig}", *arguments]

    def get(self, *arguments: str) -> Any:
        """Objects as they are."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply them on the server, strictly."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        strict = ("--server-side", "--validate=strict", "--field-manager=paictl-test")
        self.kubectl("apply", *strict, "--filename=-", given=items)

    def client(self) -> httpx.Client:
        """Plain requests with this user's token or certificate."""
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--output=json"))
        cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        trusted = ssl.create_default_context(cadata=_text(cluster, "certificate-authority"))
        if "token" not in user:
            with tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="ascii") as both:
                both.write(_text(user, "client-certificate") + _text(user, "client-key"))
                both.flush()
                trusted.load_cert_chain(both.name)
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        return httpx.Client(
            base_url=cluster["server"], verify=trusted, headers=headers, timeout=_SECONDS, trust_env=False
        )

    def limited(self, name: str, namespace: str, rules: Sequence[Mapping[str, Any]], directory: Path) -> Access:
        """A user who may do in the namespace what ``rules`` say, and nothing else anywhere."""
        where = {"name": name, "namespace": namespace}
        self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": where, "rules": list(rules)},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": where,
                "subjects": [{"kind": "ServiceAccount", **where}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            },
        )
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={_TOKEN_HOURS}").strip()
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--output=json"))
        path = directory / f"{name}.kubeconfig"
        authority = _text(view["clusters"][0]["cluster"], "certificate-authority")
        kubeconfig(path, view["clusters"][0]["cluster"]["server"], authority, token, namespace)
        return Access(path)


def _text(entry: Mapping[str, str], name: str) -> str:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"]).decode("ascii")
    return Path(entry[name]).read_text(encoding="ascii")


def kubeconfig(path: Path, server: str, authority: str, token: str, namespace: str = "default") -> None:
    """Write one with a token, readable by its owner only. JSON is YAML, too."""
    data = base64.b64encode(authority.encode("ascii")).decode("ascii")
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "paictl-test",
        "clusters": [{"name": "paictl-test", "cluster": {"server": server, "certificate-authority-data": data}}],
        "users": [{"name": "paictl-test", "user": {"token": token}}],
        "contexts": [
            {
                "name": "paictl-test",
                "context": {"cluster": "paictl-test", "user": "paictl-test", "namespace": namespace},
            }
        ],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(written, indent=2), encoding="utf-8")
