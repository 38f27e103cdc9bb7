"""Small things that run in a cluster, as documents, and what tests ask of them once they do.

Used by tests. Everything is confined as Pod Security ``restricted`` asks, and runs from ``images.TINY``.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.kubernetes.access import Access, Refused
from tests.kubernetes.images import TINY

__all__ = ["READY_SECONDS", "container", "forwarded", "pod", "reaches", "rolled_out", "web"]

READY_SECONDS = 90
_SMALL = {"cpu": "10m", "memory": "16Mi"}
_RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(*command: str, **more: Any) -> dict[str, Any]:
    resources = {"requests": _SMALL, "limits": _SMALL}
    base = {"name": "main", "image": TINY, "imagePullPolicy": "IfNotPresent", "resources": resources}
    return {**base, "command": list(command), "securityContext": _RESTRICTED, **more}


def pod(*command: str, labels: Mapping[str, str], **more: Any) -> dict[str, Any]:
    parts = {key: more.pop(key) for key in ("ports", "readinessProbe", "volumeMounts") if key in more}
    quick = {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    spec = {**quick, "containers": [container(*command, **parts)], **more}
    return {"metadata": {"labels": dict(labels)}, "spec": spec}


def web(name: str, namespace: str) -> list[dict[str, Any]]:
    """A Deployment that answers with its name on a named port, and its Service on port 80."""
    labels = {"app": name}
    serve = f"echo {name} says hello; echo {name} >/tmp/index.html; exec httpd -f -v -p 8080 -h /tmp"
    template = pod(
        "sh",
        "-c",
        serve,
        labels=labels,
        ports=[{"name": "http", "containerPort": 8080}],
        readinessProbe={"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],
        volumes=[{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
    )
    where = {"name": name, "namespace": namespace}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": where, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": {"selector": labels, "ports": ports}},
    ]


def rolled_out(access: Access, what: str, namespace: str) -> None:
    access.kubectl("rollout", "status", what, f"--namespace={namespace}", f"--timeout={READY_SECONDS}s")


@contextmanager
def forwarded(access: Access, namespace: str, what: str) -> Iterator[str]:
    """The address of its port http on this machine, for as long as the port is forwarded."""
    command = access.command("port-forward", f"--namespace={namespace}", what, ":http", "--address=127.0.0.1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        line = forward.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield f"http://127.0.0.1:{found[1]}"
        forward.terminate()


def reaches(access: Access, namespace: str, sender: str, address: str) -> bool:
    """Whether a pod of the deployment gets an answer from there."""
    asked = ("timeout", "2", "wget", "-q", "-O", "-", address)  # wget's own limit ends with a signal in Debian's build
    try:
        return bool(access.kubectl("exec", f"--namespace={namespace}", f"deployment/{sender}", "--", *asked))
    except Refused:
        return False
