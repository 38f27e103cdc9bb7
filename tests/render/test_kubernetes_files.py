from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import pytest

from paictl.blueprint.types import Blueprint
from paictl.render import kubernetes
from tests.render.blueprints import QUICKSTART, WITH_API_MODEL
from tests.render.examples import EVERY
from tests.render.reading import documents, manifests, objects
from tests.render.schemas import VERSIONS, wrong

Manifest = dict[str, Any]
every_blueprint = pytest.mark.parametrize("blueprint", EVERY.values(), ids=EVERY)


def of_kind(blueprint: Blueprint, kind: str) -> dict[str, Manifest]:
    return {found["metadata"]["name"]: found for found in objects(blueprint) if found["kind"] == kind}


def pods(blueprint: Blueprint) -> dict[str, Manifest]:
    return {
        name: found["spec"]["template"]["spec"]
        for kind in ("Deployment", "StatefulSet", "Job")
        for name, found in of_kind(blueprint, kind).items()
    }


def weaknesses(pod: Manifest) -> list[str]:
    """What Pod Security's level `restricted` and our own rules would refuse."""
    pod_level: Mapping[str, Callable[[Manifest], bool]] = {
        "token": lambda spec: spec.get("automountServiceAccountToken") is False,
        "root": lambda spec: (
            spec["securityContext"].get("runAsNonRoot") is True and spec["securityContext"]["runAsUser"] > 0
        ),
        "seccomp": lambda spec: spec["securityContext"].get("seccompProfile") == {"type": "RuntimeDefault"},
        "host": lambda spec: not {"hostNetwork", "hostPID", "hostIPC"} & set(spec),
        "volumes": lambda spec: all(
            set(volume) - {"name"} <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}
            for volume in spec["volumes"]
        ),
    }
    container_level: Mapping[str, Callable[[Manifest], bool]] = {
        "escalation": lambda one: one["securityContext"].get("allowPrivilegeEscalation") is False,
        "capabilities": lambda one: one["securityContext"].get("capabilities") == {"drop": ["ALL"]},
        "read-only": lambda one: one["securityContext"].get("readOnlyRootFilesystem") is True,
        "limits": lambda one: {"memory", "ephemeral-storage"} <= set(one["resources"]["limits"]),
        "requests": lambda one: {"cpu", "memory"} <= set(one["resources"]["requests"]),
    }
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    found = [what for what, holds in pod_level.items() if not holds(pod)]
    return found + [what for one in containers for what, holds in container_level.items() if not holds(one)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_five_versions_accept_every_object_strictly(version: str) -> None:
    told = {
        f"{name}: {path}: {manifest['metadata']['name']}": wrong(manifest, version)
        for name, blueprint in EVERY.items()
        for path, manifest in manifests(kubernetes.files(blueprint))
    }
    assert len(told) > 200
    assert {where: problem for where, problem in told.items() if problem} == {}


@pytest.mark.parametrize("name", ["quickstart", "everything", "routed"])
def test_the_check_is_one_that_refuses(name: str) -> None:
    for _, manifest in manifests(kubernetes.files(EVERY[name])):
        inner = manifest.get("spec", manifest)
        inner["noSuchField"] = 1
        assert "noSuchField" in wrong(manifest, VERSIONS[-1])


@every_blueprint
def test_every_pod_is_restricted(blueprint: Blueprint) -> None:
    assert {name: weaknesses(pod) for name, pod in pods(blueprint).items() if weaknesses(pod)} == {}
    [namespace] = of_kind(blueprint, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("pod", "automountServiceAccountToken", True),
        ("pod", "hostNetwork", True),
        ("pod", "volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
        ("pod security", "runAsNonRoot", False),
        ("pod security", "seccompProfile", {"type": "Unconfined"}),
        ("container security", "allowPrivilegeEscalation", True),
        ("container security", "capabilities", {"drop": []}),
        ("container security", "readOnlyRootFilesystem", False),
    ],
)
def test_a_pod_that_lost_one_bound_is_found(part: str, key: str, value: object) -> None:
    pod = deepcopy(pods(QUICKSTART)["agent"])
    places = {
        "pod": pod,
        "pod security": pod["securityContext"],
        "container security": pod["containers"][0]["securityContext"],
    }
    places[part][key] = value
    assert weaknesses(pod)


def arrows(blueprint: Blueprint, direction: str) -> set[tuple[str, str, int]]:
    """(from, to, port) as the policies of one direction let through between pods."""
    found = set()
    for policy in of_kind(blueprint, "NetworkPolicy").values():
        here = policy["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/component")
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get("from", []) + rule.get("to", []):
                there = peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
                for port in rule["ports"] if there else []:
                    found.add((there, here, port["port"]) if direction == "ingress" else (here, there, port["port"]))
    return found


@every_blueprint
def test_the_network_lets_exactly_the_blueprints_arrows_through(blueprint: Blueprint) -> None:
    wanted = {
        (service.name, name, endpoint.port)
        for service in blueprint.services
        for name, _, endpoint_name in (reached.partition("/") for reached in service.reaches)
        for endpoint in blueprint.service(name).endpoints
        if endpoint.name == endpoint_name
    }
    assert arrows(blueprint, "ingress") == wanted
    assert arrows(blueprint, "egress") == wanted
    deny = of_kind(blueprint, "NetworkPolicy")["default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def leaving(blueprint: Blueprint) -> Iterator[tuple[str, str]]:
    for name, policy in of_kind(blueprint, "NetworkPolicy").items():
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                if "ipBlock" in peer:
                    yield name, f"{peer['ipBlock']['cidr']}:{rule['ports'][0]['port']}"
                if "namespaceSelector" in peer:
                    yield name, "dns"


def test_nothing_leaves_but_what_is_declared_and_only_that_may_resolve_names() -> None:
    assert {name for name, _ in leaving(QUICKSTART)} == {"fetch-chat", "fetch-embed"}
    assert set(leaving(WITH_API_MODEL)) == {
        ("gateway", "0.0.0.0/0:443"),
        ("gateway", "::/0:443"),
        ("gateway", "192.168.7.20/32:11434"),
        ("gateway", "dns"),
    }


def test_a_public_name_never_leads_to_the_inside_or_to_the_clouds_metadata() -> None:
    policy = of_kind(WITH_API_MODEL, "NetworkPolicy")["gateway"]
    blocks = [peer["ipBlock"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    [anywhere] = [block for block in blocks if block["cidr"] == "0.0.0.0/0"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(anywhere["except"])


def test_what_holds_data_is_a_statefulset_and_its_claim_outlives_any_pruning() -> None:
    assert set(of_kind(QUICKSTART, "StatefulSet")) == {"gateway", "agent"}
    assert set(of_kind(QUICKSTART, "Deployment")) == {"model-chat", "model-embed"}
    claims = of_kind(QUICKSTART, "PersistentVolumeClaim")
    kept = {name for name, claim in claims.items() if "annotations" in claim["metadata"]}
    assert kept == {"gateway", "agent"}


def test_config_maps_are_named_by_their_content_and_immutable() -> None:
    for name, found in of_kind(QUICKSTART, "ConfigMap").items():
        assert re.search(r"-[0-9a-f]{12}$", name)
        assert found["immutable"] is True


@every_blueprint
def test_every_reference_leads_to_something_that_is_rendered(blueprint: Blueprint) -> None:
    accounts, maps = of_kind(blueprint, "ServiceAccount"), of_kind(blueprint, "ConfigMap")
    claims = of_kind(blueprint, "PersistentVolumeClaim")
    secrets = {one["metadata"]["name"] for one in documents(kubernetes.files(blueprint)["examples/secrets.yaml"])}
    for pod in pods(blueprint).values():
        assert pod["serviceAccountName"] in accounts
        for volume in pod["volumes"]:
            assert volume.get("configMap", {}).get("name", next(iter(maps))) in maps
            assert volume.get("persistentVolumeClaim", {}).get("claimName", next(iter(claims))) in claims
            for source in volume.get("projected", {}).get("sources", []):
                assert source["secret"]["name"] in secrets | set(of_kind(blueprint, "ExternalSecret"))


@every_blueprint
def test_the_kustomization_names_every_file_but_the_examples(blueprint: Blueprint) -> None:
    found = kubernetes.files(blueprint)
    [kustomization] = documents(found["Kustomization"])
    rendered = [path for path in found if path.endswith(".yaml") and "/" not in path]
    assert kustomization["resources"] == sorted(rendered)
    assert rendered[0] == "00-namespace.yaml"
    [*secrets] = documents(found["examples/secrets.yaml"])
    assert all(secret["stringData"] == {"value": ""} for secret in secrets)


def test_what_is_not_to_be_applied_is_out_of_the_way_of_kubectl_apply() -> None:
    found = kubernetes.files(QUICKSTART)
    taken = [path for path in found if path.endswith((".yaml", ".yml", ".json")) and "/" not in path]
    kinds = {document["kind"] for path in taken for document in documents(found[path])}
    assert not kinds & {"Kustomization", "Secret", "Role"}


@every_blueprint
def test_names_fit_into_what_kubernetes_allows(blueprint: Blueprint) -> None:
    for _, found in manifests(kubernetes.files(blueprint)):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", found["metadata"]["name"])
