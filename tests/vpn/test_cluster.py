"""The VPN's door as it is rendered, on a node that runs pods and enforces policies; a small server stands for the gateway."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.render.kubernetes import documents
from tests.blueprint.manifests import RESOLVED
from tests.blueprint.test_vpn import told
from tests.kubernetes.access import Access, Refused
from tests.kubernetes.documents import pod, rolled_out
from tests.kubernetes.images import TINY
from tests.kubernetes.lease import Lease
from tests.render import reading
from tests.vpn.image import brought, lacking
from tests.vpn.wires import DOOR, Key, Peer
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]

_HERE = f"{DOOR}:8700"
_PHONE = "10.87.0.2"
# What the rendered pod's first container does with our image, which this stack does without.
_CONNECT = (
    'busybox sed "s/[$](GATEWAY_SERVICE_HOST)/$GATEWAY_SERVICE_HOST/" /config/vpn.json >/srv/paictl/config/vpn/vpn.json'
)
_SERVE = "echo the gateway says hello >/tmp/index.html; httpd -p 8701 -h /tmp; exec httpd -f -p 8700 -h /tmp"


@dataclass
class Standing:
    """What was applied, with the two keys that belong to it."""

    access: Access
    namespace: str
    folder: Path
    phone: Key = field(default_factory=Key)
    door: Key = field(default_factory=Key)

    @property
    def endpoint(self) -> str:
        """Where a machine outside of the cluster finds it."""
        (node,) = self.access.get("nodes")["items"]
        (address,) = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        (port,) = self.access.get("service", "vpn", f"--namespace={self.namespace}")["spec"]["ports"]
        assert port["protocol"] == "UDP"
        return f"{address}:{port['nodePort']}"

    def peer(self, key: Key) -> Peer:
        return Peer.made(self.folder, key, _PHONE, self.door.public, self.endpoint)

    def connects(self, sender: str, port: int) -> bool:
        """Whether a pod gets as far as the gateway's port."""
        target = f"$GATEWAY_SERVICE_HOST {port}"
        asked = ("sh", "-c", f"timeout 2 nc {target} </dev/null")
        try:
            self.access.kubectl("exec", f"--namespace={self.namespace}", sender, "--", *asked)
        except Refused:
            return False
        return True


@pytest.fixture(scope="module")
def standing(node_cluster: Lease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    if reason := lacking(node_cluster):
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder, access = tmp_path_factory.mktemp("vpn"), node_cluster.access
    made = Standing(access, f"paictl-test-{secrets.token_hex(4)}", folder)
    brought(node_cluster, folder)
    rendered = _rendered(made)
    (namespace,) = [one for one in rendered if one["kind"] == "Namespace"]
    access.apply(namespace)
    try:
        access.apply(*(one for one in rendered if one is not namespace), *_beside(made))
        for name in ("gateway", "vpn", "stranger"):
            rolled_out(access, f"deployment/{name}", made.namespace)
        yield made
    finally:
        access.kubectl("delete", "namespace", made.namespace, "--wait=false")


def _rendered(standing: Standing) -> list[dict[str, Any]]:
    """What `paictl render` writes of the VPN and of who may reach whom, and the gateway's Service."""
    peers = f"{{phone: {{public_key: {standing.phone.public}, address: {_PHONE}}}}}"
    manifest = told(
        standing.folder,
        f"kubernetes, namespace: {standing.namespace}",
        f"{{endpoint: 'n.example:51820', peers: {peers}}}",
    )
    found = [one for text in documents(compile_blueprint(manifest, RESOLVED)) for one in reading.documents(text)]
    wanted = [one for one in found if one["kind"] in {"Namespace", "NetworkPolicy"} or _of(one, "vpn")]
    wanted += [one for one in found if one["kind"] == "Service" and _of(one, "gateway")]
    (deployment,) = [one for one in wanted if one["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    (connect,) = spec["initContainers"]
    connect |= {"image": TINY, "command": ["sh", "-c", _CONNECT]}
    del connect["args"]
    return wanted


def _of(document: Mapping[str, Any], component: str) -> bool:
    return bool(document["metadata"].get("labels", {}).get("app.kubernetes.io/component") == component)


def _beside(standing: Standing) -> list[dict[str, Any]]:
    where = {"namespace": standing.namespace}
    key = base64.b64encode(base64.urlsafe_b64encode(standing.door.private)).decode()
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vpn-key", **where}, "data": {"value": key}},
        _small("gateway", standing, "gateway", _SERVE, ports=_PORTS, readinessProbe=_READY),
        # One that the policies take for the VPN, though nobody is sent to it; and one that they don't know.
        _small("double", standing, "vpn", "exec sleep 1000000", readinessProbe=_NEVER),
        _small("stranger", standing, "stranger", "exec sleep 1000000"),
    ]


_PORTS = [{"name": "http", "containerPort": 8700}, {"name": "inner", "containerPort": 8701}]
_NEVER = {"exec": {"command": ["test", "-e", "/never"]}}
_READY = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}


def _small(name: str, standing: Standing, component: str, command: str, **more: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": "atlas", "app.kubernetes.io/component": component, "app": name}
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    volumes = [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
    template = pod("sh", "-c", command, labels=labels, volumeMounts=mounts, volumes=volumes, **more)
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": standing.namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.mark.promise(33)
def test_a_device_outside_of_the_cluster_reaches_the_gateway_through_a_restricted_pod(standing: Standing) -> None:
    with standing.peer(standing.phone).forwarded(_HERE) as place:
        # The first words of a pod can be faster than the policy that lets them through.
        until(lambda: _said(place) == "the gateway says hello\n", "the gateway's answer", 30)
    namespace = standing.access.get("namespace", standing.namespace)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def _said(place: str) -> str:
    try:
        return httpx.get(f"http://{place}/", trust_env=False).text
    except httpx.TransportError as error:
        return str(error)


@pytest.mark.promise(28)
def test_nobody_else_does_and_nothing_else_is_reached(standing: Standing) -> None:
    assert "connected" not in standing.peer(Key()).tried(_HERE)[_HERE]
    found = standing.peer(standing.phone).tried(_HERE, f"{DOOR}:8701", "10.87.0.9:8700")
    assert [place for place, outcome in found.items() if outcome == "connected"] == [_HERE]
    host, _, port = standing.endpoint.rpartition(":")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{host}:{port}/", trust_env=False, timeout=3)


@pytest.mark.promise(24)
def test_the_vpns_pod_reaches_the_gateways_open_port_and_a_stranger_none(standing: Standing) -> None:
    assert standing.connects("deployment/double", 8700)
    assert not standing.connects("deployment/double", 8701)
    assert not standing.connects("deployment/stranger", 8700)


@pytest.mark.promise(23)
def test_the_private_key_is_in_its_secret_and_nowhere_else(standing: Standing) -> None:
    said = standing.access.kubectl("logs", f"--namespace={standing.namespace}", "deployment/vpn", "--container=vpn")
    assert f"vpn: public key {standing.door.public}, 1 peers" in said
    key = base64.urlsafe_b64encode(standing.door.private).decode().rstrip("=")
    everything = standing.access.kubectl(
        "get", "configmaps,deployments,pods,services", f"--namespace={standing.namespace}", "--output=json"
    )
    assert key not in everything + said
    assert base64.b64encode(standing.door.private).decode() not in everything + said
