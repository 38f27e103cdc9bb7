"""The files of `paictl render` in the hands of kubectl, on a real API server with its admission and its controllers."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from paictl.render import kubernetes
from tests.kubernetes.access import Access
from tests.kubernetes.lease import Lease
from tests.render.blueprints import EVERYTHING
from tests.render.reading import documents, written

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

# kubectl puts the selector of a budget into every patch, whatever stands there, and calls that configured.
_ALWAYS_CONFIGURED = "poddisruptionbudget.policy/"


@dataclass(frozen=True)
class _Rendered:
    access: Access
    namespace: str
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """kubectl, with what it warns of."""
        command = self.access.command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def told(self, *arguments: str) -> list[str]:
        """What an apply says, without a word of warning."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def generations(self) -> dict[str, Any]:
        kinds = "deployments,statefulsets,jobs,services,networkpolicies,poddisruptionbudgets,ingresses,configmaps,persistentvolumeclaims"
        found = self.access.get(kinds, f"--namespace={self.namespace}")["items"]
        return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"].get("generation") for one in found}


@pytest.fixture(scope="module")
def rendered(cluster: Lease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Rendered]:
    """Everything that is switched on by a manifest and that a bare cluster knows."""
    name = f"paictl-test-{secrets.token_hex(4)}"
    blueprint = replace(
        EVERYTHING,
        namespace=name,
        # What a cluster refuses pods without: its own classes of priority and of runtimes.
        cluster=replace(
            EVERYTHING.cluster, priority_class="", cards=replace(EVERYTHING.cluster.cards, runtime_class="")
        ),
        secrets=tuple(replace(one, remote=("", "")) for one in EVERYTHING.secrets),
    )
    folder = written(kubernetes.files(blueprint), tmp_path_factory.mktemp("rendered"))
    try:
        made = _Rendered(cluster.access, name, folder)
        made.told("apply", "--validate=strict", "--filename", f"{folder}/00-namespace.yaml")
        # The API server's own word on each document, before any of them is there.
        made.told("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", str(folder))
        made.told("apply", "--validate=strict", "--kustomize", str(folder))
        yield made
    finally:
        cluster.access.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def test_kubectl_finds_nothing_to_do_the_second_time_whichever_way_it_takes_the_folder(rendered: _Rendered) -> None:
    folder = str(rendered.folder)
    every = [one for path in rendered.folder.glob("*.yaml") for one in documents(path.read_text("utf-8"))]
    before = rendered.generations()
    assert len(before) > 30
    for way in ("--kustomize", "--filename"):
        again = rendered.told("apply", "--validate=strict", way, folder)
        assert len(again) == len(every)
        changed = [line for line in again if not line.endswith(" unchanged")]
        assert [line for line in changed if not line.startswith(_ALWAYS_CONFIGURED)] == []
    assert rendered.generations() == before


def test_kustomize_builds_the_same_objects_and_no_example(rendered: _Rendered) -> None:
    built = documents(rendered.run("kustomize", str(rendered.folder)).stdout)
    every = [one for path in rendered.folder.glob("*.yaml") for one in documents(path.read_text("utf-8"))]
    named = [sorted((one["kind"], one["metadata"]["name"]) for one in found) for found in (built, every)]
    assert named[0] == named[1]
    assert not {"Secret", "Role"} & {one["kind"] for one in built}


def _pods(folder: Path) -> Iterator[dict[str, Any]]:
    """The pods that controllers make of what is rendered, with names of their own."""
    for path in sorted(folder.glob("*.yaml")):
        for document in documents(path.read_text("utf-8")):
            if document["kind"] not in {"Deployment", "StatefulSet", "Job"}:
                continue
            template = document["spec"]["template"]
            own = [one["metadata"]["name"] for one in document["spec"].get("volumeClaimTemplates", [])]
            volumes = [{"name": one, "persistentVolumeClaim": {"claimName": f"{one}-0"}} for one in own]
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"try-{document['metadata']['name']}", "labels": template["metadata"]["labels"]},
                "spec": {**template["spec"], "volumes": [*template["spec"]["volumes"], *volumes]},
            }


def test_pod_security_restricted_has_nothing_against_any_pod(rendered: _Rendered) -> None:
    labels = rendered.access.get("namespace", rendered.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = list(_pods(rendered.folder))
    assert len(pods) == 8
    with rendered.access.client() as client:

        def answer(pod: dict[str, Any]) -> httpx.Response:
            path = f"/api/v1/namespaces/{rendered.namespace}/pods"
            return client.post(path, params={"dryRun": "All", "fieldValidation": "Strict"}, json=pod)

        for pod in pods:
            admitted = answer(pod)
            assert admitted.status_code == httpx.codes.CREATED, admitted.text
            assert "warning" not in admitted.headers
        pods[0]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        assert 'violates PodSecurity "restricted' in answer(pods[0]).json()["message"]
