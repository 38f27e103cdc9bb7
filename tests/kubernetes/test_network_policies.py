from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.kubernetes.access import Refused
from tests.kubernetes.documents import reaches, rolled_out, web
from tests.kubernetes.lease import Lease
from tests.waiting import until

pytestmark = pytest.mark.kubernetes


@pytest.mark.slow
def test_network_policies_let_through_what_they_name_only(node_cluster: Lease, node_namespace: str) -> None:
    access = node_cluster.access
    names = ("server", "friend", "stranger")
    access.apply(*(document for name in names for document in web(name, node_namespace)))
    for name in names:
        rolled_out(access, f"deployment/{name}", node_namespace)
    assert reaches(access, node_namespace, "stranger", "http://server/")

    access.apply(
        _policy("nothing", node_namespace, {}, {"policyTypes": ["Ingress", "Egress"]}),
        _policy("names", node_namespace, {}, {"egress": [_to_names()], "policyTypes": ["Egress"]}),
        _policy("from-friend", node_namespace, {"app": "server"}, {"ingress": [_from("friend")]}),
        _policy("to-server", node_namespace, {"app": "friend"}, {"egress": [_to("server")], "policyTypes": ["Egress"]}),
    )
    until(lambda: not reaches(access, node_namespace, "stranger", "http://server/"), "the stranger kept out")
    until(lambda: reaches(access, node_namespace, "friend", "http://server/"), "the friend let in")
    assert not reaches(access, node_namespace, "friend", "http://stranger/")
    assert not reaches(access, node_namespace, "server", "http://friend/")
    rolled_out(access, "deployment/server", node_namespace)  # a node's own probes get through

    # What leaves is asked, too: a door that only the receiver opens stays closed.
    access.apply(_policy("from-all", node_namespace, {"app": "server"}, {"ingress": [{}]}))
    assert not reaches(access, node_namespace, "stranger", "http://server/")
    access.apply(_policy("out", node_namespace, {"app": "stranger"}, {"egress": [{}], "policyTypes": ["Egress"]}))
    until(lambda: reaches(access, node_namespace, "stranger", "http://server/"), "both doors open")


@pytest.mark.slow
def test_network_policies_name_addresses_and_hold_for_the_node_itself(node_cluster: Lease, node_namespace: str) -> None:
    access = node_cluster.access
    access.apply(*web("client", node_namespace))
    rolled_out(access, "deployment/client", node_namespace)
    service = "--selector=kubernetes.io/service-name=kubernetes"
    (found,) = access.get("endpointslices", service, "--namespace=default")["items"]
    address, port = f"{found['endpoints'][0]['addresses'][0]}/32", found["ports"][0]["port"]
    connect = "timeout 2 nc $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null"

    def reached() -> bool:
        try:
            access.kubectl("exec", f"--namespace={node_namespace}", "deployment/client", "--", "sh", "-c", connect)
        except Refused:
            return False
        return True

    def leaves(**rule: Any) -> dict[str, Any]:
        return _policy("out", node_namespace, {}, {"policyTypes": ["Egress"], "egress": [rule] if rule else []})

    assert reached()
    access.apply(leaves())
    until(lambda: not reached(), "the API server out of reach")
    access.apply(leaves(to=[{"ipBlock": {"cidr": address}}], ports=[{"port": port, "protocol": "TCP"}]))
    until(reached, "the API server in reach again")
    access.apply(leaves(to=[{"ipBlock": {"cidr": "0.0.0.0/0", "except": [address]}}]))
    until(lambda: not reached(), "the exception held")


def _policy(name: str, namespace: str, labels: Mapping[str, str], spec: Mapping[str, Any]) -> dict[str, Any]:
    selector = {"matchLabels": dict(labels)} if labels else {}
    where = {"name": name, "namespace": namespace}
    whole = {"podSelector": selector, **spec}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": where, "spec": whole}


def _from(app: str) -> dict[str, Any]:
    return {"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": "http", "protocol": "TCP"}]}


def _to(app: str) -> dict[str, Any]:
    return {"to": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": "http", "protocol": "TCP"}]}


def _to_names() -> dict[str, Any]:
    system = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    dns = {"namespaceSelector": system, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    return {"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
