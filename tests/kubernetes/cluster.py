"""A cluster of the tests' own: etcd, API server, controllers and scheduler, and a node that runs pods where one is wanted.

Used by ``lease``; every server is the official one, and runs in namespaces that end with the cluster. Touches only its own
directory, one interface of this machine, and the control groups of its pods.
"""

from __future__ import annotations

import json
import secrets
import shutil
import ssl
from pathlib import Path
from signal import SIGKILL

import httpx

from tests.kubernetes import build
from tests.kubernetes.access import Access, kubeconfig
from tests.kubernetes.certificates import Authority, signing_key
from tests.kubernetes.namespaces import Namespaces

__all__ = ["CLUSTER_DNS", "NODE", "PODS", "Cluster"]

NODE = "node-1"
PODS = "10.244.0.0/16"
CLUSTER_DNS = "10.96.0.10"
_SERVICES = "10.96.0.0/16"
_KUBERNETES = "10.96.0.1"
_PORT = 6443
_ETCD = "http://127.0.0.1:2379"
# Each server's user, as its official role asks for; and our own, which see to the node.
_USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "policy": ("paictl-test:policy", "system:masters"),
    "volumes": ("paictl-test:volumes", "system:masters"),
}


class Cluster:
    """The control plane below ``directory``; what it has stored ends with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.namespaces = Namespaces(directory)
        self.kubeconfig = directory / "kubeconfig"
        self.access = Access(self.kubeconfig)
        self._keys = directory / "keys"
        # A link of its own, so that a new build takes nothing away from it.
        self.program = directory / "servers"

    @property
    def running(self) -> bool:
        return self.namespaces.first() is not None and self._ready("/readyz")

    def start(self, users: Path | None = None) -> None:
        """Begin afresh, until nobody has ``users`` locked or until ``stop``. Raises RuntimeError with the logs' ends."""
        self.stop()
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self.program.hardlink_to(build.servers())
        except OSError:  # on another file system
            shutil.copy2(build.servers(), self.program)
        self.namespaces.begin(users)
        self._secure()
        etcd = ["--data-dir", str(self.directory / "etcd"), f"--listen-client-urls={_ETCD}", "--unsafe-no-fsync"]
        self.serve("etcd", [*etcd, f"--advertise-client-urls={_ETCD}", "--log-level=warn"])
        self._serve_api()
        self.serve("kube-controller-manager", self._controllers())
        own = self.credentials("kube-scheduler")
        self.serve("kube-scheduler", [f"--kubeconfig={own}", *self._trusting(own)])
        self.namespaces.wait(self._has_accounts, "the default ServiceAccount")

    def stop(self) -> None:
        """End everything, and forget it."""
        self.namespaces.end()
        for name in ("etcd", "keys", "node"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for file in (self.kubeconfig, self.program):
            file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Stop it and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    def restart_apiserver(self) -> None:
        """Kill the API server and start it again; what is stored stays."""
        self.stop_apiserver()
        self.start_apiserver()

    def stop_apiserver(self) -> None:
        """Leave the cluster without one until ``start_apiserver``, at once: in order, it waits a minute for its watchers."""
        self.namespaces.stop("kube-apiserver", SIGKILL)

    def start_apiserver(self) -> None:
        """Start it after ``stop_apiserver``, and wait until it is ready."""
        self._serve_api()

    def serve(self, name: str, flags: list[str]) -> None:
        """Start one of the program's servers."""
        self.namespaces.start(name, [str(self.program), name, *flags])

    def credentials(self, server: str) -> Path:
        """The kubeconfig of a server."""
        return self._keys / f"{server}.kubeconfig"

    def key(self, name: str) -> Path:
        """A certificate or key below the cluster's."""
        return self._keys / name

    @property
    def address(self) -> str:
        return f"https://{self.namespaces.address}:{_PORT}"

    def _secure(self) -> None:
        authority = Authority(self._keys)
        host = self.namespaces.address
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
        authority.issue("kube-apiserver", hosts=[host, _KUBERNETES, "127.0.0.1", *names])
        authority.issue("kubelet", hosts=[host, NODE])
        authority.issue("kubelet-client", groups=["system:masters"])
        signing_key(self._keys / "accounts.key")
        trusted = (self._keys / "ca.crt").read_text(encoding="ascii")
        lines = []
        for server, (user, group) in _USERS.items():
            token = secrets.token_hex(16)
            lines.append(f'{token},{user},{user},"{group}"')
            path = self.kubeconfig if server == "admin" else self.credentials(server)
            kubeconfig(path, self.address, trusted, token)
        tokens = self._keys / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text("\n".join(lines), encoding="ascii")

    def _serve_api(self) -> None:
        keys, host = self._keys, self.namespaces.address
        self.serve(
            "kube-apiserver",
            [
                f"--etcd-servers={_ETCD}",
                f"--bind-address={host}",
                f"--advertise-address={host}",
                f"--secure-port={_PORT}",
                f"--tls-cert-file={keys / 'kube-apiserver.crt'}",
                f"--tls-private-key-file={keys / 'kube-apiserver.key'}",
                f"--client-ca-file={keys / 'ca.crt'}",
                f"--token-auth-file={keys / 'tokens.csv'}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={keys / 'accounts.key'}",
                f"--service-account-signing-key-file={keys / 'accounts.key'}",
                f"--service-cluster-ip-range={_SERVICES}",
                f"--kubelet-certificate-authority={keys / 'ca.crt'}",
                f"--kubelet-client-certificate={keys / 'kubelet-client.crt'}",
                f"--kubelet-client-key={keys / 'kubelet-client.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                "--allow-privileged=true",
                "--watch-cache=true",
            ],
        )
        self.namespaces.wait(lambda: self._ready("/readyz"), "a ready API server")

    def _controllers(self) -> list[str]:
        own, keys = self.credentials("kube-controller-manager"), self._keys
        return [
            f"--kubeconfig={own}",
            *self._trusting(own),
            f"--root-ca-file={keys / 'ca.crt'}",
            f"--service-account-private-key-file={keys / 'accounts.key'}",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={PODS}",
        ]

    @staticmethod
    def _trusting(own: Path) -> list[str]:
        asked = [f"--authentication-kubeconfig={own}", f"--authorization-kubeconfig={own}"]
        return [*asked, "--authentication-tolerate-lookup-failure", "--bind-address=127.0.0.1", "--leader-elect=false"]

    def _ready(self, path: str) -> bool:
        answer = self._ask(path)
        return answer is not None and answer.status_code == httpx.codes.OK

    def _has_accounts(self) -> bool:
        return self._ready("/api/v1/namespaces/default/serviceaccounts/default")

    def _ask(self, path: str) -> httpx.Response | None:
        try:
            token = json.loads(self.kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]["token"]
            trusted = ssl.create_default_context(cafile=str(self._keys / "ca.crt"))
            headers = {"Authorization": f"Bearer {token}"}
            return httpx.get(self.address + path, headers=headers, verify=trusted, timeout=5, trust_env=False)
        except (httpx.HTTPError, FileNotFoundError):
            return None
